-- What did each month return, last close against the last close of the month before?
-- Grain: one row a symbol and year, a column a month in %; empty where there is none. year_pct compounds them.
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
        close / lag(close) OVER (PARTITION BY symbol ORDER BY month_start) - 1 AS change
    FROM months
)
SELECT
    symbol,
    year,
    sum(CASE WHEN month = 1 THEN change * 100 END) AS jan,
    sum(CASE WHEN month = 2 THEN change * 100 END) AS feb,
    sum(CASE WHEN month = 3 THEN change * 100 END) AS mar,
    sum(CASE WHEN month = 4 THEN change * 100 END) AS apr,
    sum(CASE WHEN month = 5 THEN change * 100 END) AS may,
    sum(CASE WHEN month = 6 THEN change * 100 END) AS jun,
    sum(CASE WHEN month = 7 THEN change * 100 END) AS jul,
    sum(CASE WHEN month = 8 THEN change * 100 END) AS aug,
    sum(CASE WHEN month = 9 THEN change * 100 END) AS sep,
    sum(CASE WHEN month = 10 THEN change * 100 END) AS oct,
    sum(CASE WHEN month = 11 THEN change * 100 END) AS nov,
    sum(CASE WHEN month = 12 THEN change * 100 END) AS dec,
    (exp(sum(ln(1 + change))) - 1) * 100 AS year_pct
FROM changes
WHERE change IS NOT NULL
GROUP BY symbol, year
ORDER BY symbol, year
