-- Who moved most in the last session that each symbol has?
-- Grain: one row a symbol.
WITH moves AS (
    SELECT
        symbol,
        date,
        close,
        lag(close) OVER (PARTITION BY symbol ORDER BY date) AS close_before,
        row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
    FROM prices
    WHERE symbol IN (:symbols)
)
SELECT
    symbol,
    date,
    close,
    (close / close_before - 1) * 100 AS move_pct
FROM moves
WHERE age = 1
ORDER BY abs(close / close_before - 1) DESC, symbol
