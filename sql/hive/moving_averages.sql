-- What did the moving averages of each symbol say at the end of each month? In Hive's SQL, for Spark.
-- Grain: a symbol, month and moving average (SMA-5, SMA-20); full windows only.
-- Columns: close on the month's last session, the average then, the distance from it in percent.
WITH averaged AS (
    SELECT
        symbol,
        `date`,
        close,
        avg(close) OVER five AS sma_5,
        avg(close) OVER twenty AS sma_20,
        row_number() OVER (PARTITION BY symbol ORDER BY `date`) AS session,
        row_number() OVER (PARTITION BY symbol, date_format(`date`, 'yyyy-MM') ORDER BY `date` DESC) AS from_last
    FROM prices
    WINDOW
        five AS (PARTITION BY symbol ORDER BY `date` ROWS BETWEEN 4 PRECEDING AND CURRENT ROW),
        twenty AS (PARTITION BY symbol ORDER BY `date` ROWS BETWEEN 19 PRECEDING AND CURRENT ROW)
)
SELECT
    symbol,
    date_format(`date`, 'yyyy-MM') AS month,
    average,
    close,
    value,
    round(100 * (close / value - 1), 3) AS distance_percent
FROM averaged
LATERAL VIEW stack(2, 'SMA-5', sma_5, 'SMA-20', sma_20) averages AS average, value
WHERE from_last = 1 AND session >= 20
ORDER BY symbol, month, average
