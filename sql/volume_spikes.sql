-- On which sessions was volume highest against the mean of the 60 before, and what did the price do?
-- Grain: one row a symbol and session; the ten largest.
WITH flows AS (
    SELECT
        symbol,
        date,
        volume,
        close / lag(close) OVER (PARTITION BY symbol ORDER BY date) - 1 AS move,
        avg(volume) OVER (PARTITION BY symbol ORDER BY date ROWS BETWEEN 60 PRECEDING AND 1 PRECEDING) AS usual,
        row_number() OVER (PARTITION BY symbol ORDER BY date) AS age
    FROM prices
    WHERE symbol IN (:symbols)
)
SELECT
    symbol,
    date,
    volume,
    volume / usual AS times_usual,
    move * 100 AS move_pct
FROM flows
WHERE age > 60 AND usual > 0
ORDER BY volume / usual DESC, symbol, date
LIMIT 10
