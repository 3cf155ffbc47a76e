-- How far did each symbol fall from its highest close so far, at the worst moment, and where is it now?
-- Grain: one row a symbol.
WITH peaks AS (
    SELECT
        symbol,
        date,
        close,
        max(close) OVER (PARTITION BY symbol ORDER BY date ROWS UNBOUNDED PRECEDING) AS peak
    FROM prices
    WHERE symbol IN (:symbols)
)
SELECT
    symbol,
    min(close / peak - 1) * 100 AS worst_pct,
    min_by(date, close / peak - 1) AS worst_on,
    (max_by(close, date) / max_by(peak, date) - 1) * 100 AS now_pct
FROM peaks
GROUP BY symbol
ORDER BY worst_pct, symbol
