-- Where does each symbol stand between its extremes of the last 252 sessions?
-- Grain: one row a symbol.
WITH recent AS (
    SELECT
        symbol,
        date,
        high,
        low,
        close,
        row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
    FROM prices
    WHERE symbol IN (:symbols)
)
SELECT
    symbol,
    max_by(close, date) AS close,
    min(low) AS low_52w,
    min_by(date, low) AS low_on,
    max(high) AS high_52w,
    max_by(date, high) AS high_on,
    (1 - max_by(close, date) / max(high)) * 100 AS below_high_pct
FROM recent
WHERE age <= 252
GROUP BY symbol
ORDER BY symbol
