-- Is the table whole: rows, first and last session, splits, and prices that contradict the as-traded close?
-- Grain: one row a symbol.
SELECT
    symbol,
    count(*) AS bars,
    min(date) AS first_session,
    max(date) AS last_session,
    count(DISTINCT split_factor) - 1 AS splits,
    count_if(dividend > 0) AS dividends,
    count_if(abs(close * split_factor - close_raw) > 1e-9 * close_raw) AS contradictions
FROM prices
WHERE symbol IN (:symbols)
GROUP BY symbol
ORDER BY symbol
