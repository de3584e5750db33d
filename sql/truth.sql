-- truth.sql: which answers are right, and how reliable performers are.

-- ---- label by label, for the market (src/truth/one_coin.h) ----

CREATE FUNCTION _taskex.one_coin_reliability(agreed float8, compared float8) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_one_coin_reliability';
COMMENT ON FUNCTION _taskex.one_coin_reliability(float8, float8) IS
'Reliability (0 .. 1) of a performer who agreed "agreed" times (fractions count) out of "compared": the mean of Beta(4 + agreed, 1 + compared - agreed).';

CREATE FUNCTION _taskex.one_coin_posterior(labels text[], reliabilities float8[], possible int DEFAULT 0,
        OUT label text, OUT posterior float8) RETURNS SETOF record
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_one_coin_posterior';
COMMENT ON FUNCTION _taskex.one_coin_posterior(text[], float8[], int) IS
'Posterior of each label given to one task, in the one-coin model. labels and reliabilities (of those who gave them) go together;
possible: how many labels there could be, 0 if not declared. Rows in the order of the labels'' first votes.';

CREATE FUNCTION _taskex.one_coin_agreement(labels text[], reliabilities float8[], possible int DEFAULT 0) RETURNS float8[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_one_coin_agreement';
COMMENT ON FUNCTION _taskex.one_coin_agreement(text[], float8[], int) IS
'How likely each vote of a decided task is right as far as the other votes tell (0 .. 1): what to add to "agreed" of those who gave
them, with 1 to "compared". NULL for fewer than two votes.';
