-- Which symbols moved together, by the daily log returns of the last 252 sessions that both have?
-- Grain: one row a symbol and a symbol after it in the alphabet.
WITH returns AS (
    SELECT
        symbol,
        date,
        ln(close / lag(close) OVER (PARTITION BY symbol ORDER BY date)) AS log_return,
        row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
    FROM prices
    WHERE symbol IN (:symbols)
)
SELECT
    one.symbol,
    other.symbol AS other,
    count(*) AS sessions,
    corr(one.log_return, other.log_return) AS correlation
FROM returns AS one
INNER JOIN returns AS other ON one.date = other.date AND one.symbol < other.symbol
WHERE one.age <= 252 AND other.age <= 252 AND one.log_return IS NOT NULL AND other.log_return IS NOT NULL
GROUP BY one.symbol, other.symbol
ORDER BY correlation DESC, one.symbol, other.symbol
