-- What did each month return, last close against the last close of the month before?
-- Grain: one row a symbol and calendar month; the first month of a symbol is left out.
WITH months AS (
    SELECT
        symbol,
        date_trunc('month', date) AS month_start,
        max_by(close, date) AS close
    FROM prices
    WHERE symbol IN (:symbols)
    GROUP BY symbol, date_trunc('month', date)
),
changes AS (
    SELECT
        symbol,
        year(month_start) AS year,
        month(month_start) AS month,
        (close / lag(close) OVER (PARTITION BY symbol ORDER BY month_start) - 1) * 100 AS return_pct
    FROM months
)
SELECT
    symbol,
    year,
    month,
    return_pct
FROM changes
WHERE return_pct IS NOT NULL
ORDER BY symbol, year, month
