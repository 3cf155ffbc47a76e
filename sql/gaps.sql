-- How often does a symbol open at least 2 % away from its last close, and is the way back made the same day?
-- Grain: one row a symbol and direction (up, down).
WITH steps AS (
    SELECT
        symbol,
        date,
        open,
        high,
        low,
        lag(close) OVER (PARTITION BY symbol ORDER BY date) AS close_before
    FROM prices
    WHERE symbol IN (:symbols)
),
gaps AS (
    SELECT
        symbol,
        date,
        CASE WHEN open > close_before THEN 'up' ELSE 'down' END AS direction,
        (open / close_before - 1) * 100 AS gap_pct,
        low <= close_before AND high >= close_before AS filled
    FROM steps
    WHERE abs(open / close_before - 1) >= 0.02
)
SELECT
    symbol,
    direction,
    count(*) AS gaps,
    count_if(filled) * 1e2 / count(*) AS filled_pct,
    avg(gap_pct) AS mean_pct,
    max_by(gap_pct, abs(gap_pct)) AS largest_pct,
    max_by(date, abs(gap_pct)) AS largest_on
FROM gaps
GROUP BY symbol, direction
ORDER BY symbol, direction DESC
