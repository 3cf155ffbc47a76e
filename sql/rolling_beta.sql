-- How strongly did each symbol move with the equal-weighted mean of all of them, over 126 sessions?
-- Grain: one row a symbol and month, at the month's last session. The mean holds the symbol itself.
WITH returns AS (
    SELECT
        symbol,
        date,
        close / lag(close) OVER (PARTITION BY symbol ORDER BY date) - 1 AS own
    FROM prices
    WHERE symbol IN (:symbols)
),
market AS (
    SELECT
        date,
        avg(own) AS mean
    FROM returns
    WHERE own IS NOT NULL
    GROUP BY date
),
windows AS (
    SELECT
        returns.symbol,
        returns.date,
        regr_slope(returns.own, market.mean)
            OVER (PARTITION BY returns.symbol ORDER BY returns.date ROWS BETWEEN 125 PRECEDING AND CURRENT ROW) AS beta,
        row_number() OVER (PARTITION BY returns.symbol ORDER BY returns.date) AS sessions,
        row_number() OVER (PARTITION BY returns.symbol, date_trunc('month', returns.date) ORDER BY returns.date DESC) AS age
    FROM returns
    INNER JOIN market ON returns.date = market.date
    WHERE returns.own IS NOT NULL
)
SELECT
    symbol,
    date,
    beta
FROM windows
WHERE age = 1 AND sessions >= 126
ORDER BY symbol, date
