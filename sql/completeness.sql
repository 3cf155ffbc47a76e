-- Is the table whole: rows, sessions that others have and the symbol lacks, splits, prices that contradict each other?
-- Grain: one row a symbol.
WITH sessions AS (
    SELECT DISTINCT date
    FROM prices
    WHERE symbol IN (:symbols)
),
spans AS (
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
)
SELECT
    spans.symbol,
    spans.bars,
    count(*) - spans.bars AS missing,
    spans.first_session,
    spans.last_session,
    spans.splits,
    spans.dividends,
    spans.contradictions
FROM spans
INNER JOIN sessions ON sessions.date BETWEEN spans.first_session AND spans.last_session
GROUP BY
    spans.symbol, spans.bars, spans.first_session, spans.last_session, spans.splits, spans.dividends, spans.contradictions
ORDER BY spans.symbol
