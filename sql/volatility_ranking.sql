-- Who is the most volatile now, and how does that compare with the symbol's own past?
-- Grain: one row a symbol. Volatility: standard deviation of daily log returns times the root of 252.
WITH returns AS (
    SELECT
        symbol,
        ln(close / lag(close) OVER (PARTITION BY symbol ORDER BY date)) AS log_return,
        row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
    FROM prices
    WHERE symbol IN (:symbols)
),
ranges AS (
    SELECT
        symbol,
        stddev_samp(CASE WHEN age <= 63 THEN log_return END) * sqrt(252) * 100 AS last_63_pct,
        stddev_samp(CASE WHEN age <= 252 THEN log_return END) * sqrt(252) * 100 AS last_252_pct,
        stddev_samp(log_return) * sqrt(252) * 100 AS whole_pct
    FROM returns
    GROUP BY symbol
)
SELECT
    rank() OVER (ORDER BY last_252_pct DESC) AS place,
    symbol,
    last_63_pct,
    last_252_pct,
    whole_pct
FROM ranges
ORDER BY place, symbol
