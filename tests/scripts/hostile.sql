-- One statement a line. Each has to be refused with a typed error: none may read, change or wait for anything outside.
-- What follows `---- harmless` may be answered too, but without a word from outside; `---- refused as NAME` is another
-- dialect. $secret is a file, $data the directory of the segments, $variable of the environment, $target not there yet.
---- refused: what reads, changes or waits
SELECT * FROM read_csv('$secret')
SELECT * FROM read_csv_auto('$secret')
SELECT * FROM read_text('$secret')
SELECT * FROM read_blob('$secret')
SELECT * FROM read_json('$secret')
SELECT * FROM read_json_auto('$secret')
SELECT * FROM read_ndjson('$secret')
SELECT * FROM read_parquet('$secret')
SELECT * FROM parquet_scan('$secret')
SELECT * FROM parquet_metadata('$secret')
SELECT * FROM parquet_schema('$secret')
SELECT * FROM sniff_csv('$secret')
SELECT * FROM glob('/etc/*')
SELECT * FROM '$secret'
SELECT * FROM "$secret"
SELECT * FROM 'https://example.com/x.parquet'
SELECT * FROM logs, read_text('$secret')
SELECT * FROM logs JOIN read_text('$secret') t ON true
SELECT * FROM logs WHERE id IN (SELECT 1 FROM read_text('$secret'))
SELECT (SELECT content FROM read_text('$secret'))
WITH x AS (SELECT * FROM read_text('$secret')) SELECT * FROM x
WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x, read_text('$secret')) SELECT * FROM x
SELECT * FROM (FROM read_text('$secret'))
FROM read_text('$secret')
FROM '$secret'
SELECT * FROM logs UNION ALL SELECT * FROM read_text('$secret')
SELECT * FROM logs, LATERAL (SELECT * FROM read_text('$secret')) t
PIVOT read_csv('$secret') ON a USING count(*)
UNPIVOT (FROM read_csv('$secret')) ON a INTO NAME n VALUE v
SUMMARIZE '$secret'
SUMMARIZE read_text('$secret')
DESCRIBE '$secret'
DESCRIBE TABLE '$secret'
DESCRIBE SELECT * FROM read_text('$secret')
EXPLAIN SELECT * FROM read_text('$secret')
EXPLAIN ANALYZE SELECT * FROM read_text('$secret')
EXPLAIN COPY logs TO '$target'
COPY logs TO '$target.csv'
COPY (SELECT * FROM logs) TO '$target.parquet'
COPY logs FROM '$secret'
COPY FROM DATABASE memory TO x
EXPORT DATABASE '$target'
IMPORT DATABASE '$target'
ATTACH '$target.db'
ATTACH ':memory:' AS other
DETACH memory
USE memory
INSTALL httpfs
LOAD httpfs
FORCE INSTALL httpfs FROM 'x'
UPDATE EXTENSIONS
PRAGMA database_list
PRAGMA version
PRAGMA show_tables
PRAGMA enable_profiling
SET enable_external_access = true
SET memory_limit = '100GB'
SET GLOBAL threads = 100
SET SESSION search_path = 'x'
RESET memory_limit
RESET ALL
CALL pragma_version()
CALL duckdb_settings()
CHECKPOINT
FORCE CHECKPOINT
VACUUM
ANALYZE
BEGIN
COMMIT
ROLLBACK
BEGIN TRANSACTION; SELECT 1; COMMIT
CREATE TABLE x (a INT)
CREATE TABLE x AS SELECT * FROM logs
CREATE TEMP TABLE x AS SELECT 1
CREATE VIEW x AS SELECT * FROM logs
CREATE OR REPLACE VIEW logs AS SELECT 1
CREATE SCHEMA x
CREATE SEQUENCE x
CREATE TYPE x AS ENUM ('a')
CREATE INDEX x ON logs (id)
CREATE MACRO f(a) AS a + 1
CREATE FUNCTION f(a) AS a + 1
CREATE SECRET x (TYPE s3, KEY_ID 'a', SECRET 'b')
DROP TABLE logs
DROP VIEW logs
DROP SCHEMA main CASCADE
ALTER TABLE logs ADD COLUMN x INT
TRUNCATE logs
INSERT INTO logs VALUES (1)
INSERT INTO logs SELECT * FROM logs
UPDATE logs SET id = 1
DELETE FROM logs
MERGE INTO logs USING logs AS l ON true WHEN MATCHED THEN DELETE
WITH x AS (DELETE FROM logs RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO logs VALUES (1) RETURNING *) SELECT * FROM x
SELECT 1 INTO x
SELECT * INTO x FROM logs
GRANT SELECT ON logs TO x
REVOKE SELECT ON logs FROM x
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
COMMENT ON TABLE logs IS 'x'
LOCK TABLE logs
SELECT * FROM logs FOR UPDATE
SELECT getenv('$variable')
SELECT GETENV('$variable')
SELECT "getenv"('$variable')
SELECT main.getenv('$variable')
SELECT system.main.getenv('$variable')
SELECT list_transform(['$variable'], lambda x: getenv(x))
SELECT count(*) FILTER (WHERE getenv('$variable') = 'x') FROM logs
SELECT id FROM logs ORDER BY getenv('$variable')
SELECT id FROM logs GROUP BY id HAVING getenv('$variable') = 'x'
SELECT current_setting('memory_limit')
SELECT current_setting('temp_directory')
SELECT getvariable('x')
SET VARIABLE x = 1
SELECT current_database()
SELECT current_catalog
SELECT current_schema()
SELECT current_user
SELECT session_user
SELECT version()
SELECT current_query()
SELECT txid_current()
SELECT nextval('x')
SELECT setseed(0.5)
SELECT pg_typeof2(1)
SELECT pg_get_viewdef(1)
SELECT has_table_privilege('logs', 'select')
SELECT inet_server_addr()
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_extensions()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_logs()
SELECT * FROM pragma_database_list()
SELECT * FROM pragma_table_info('logs')
SELECT * FROM information_schema.tables
SELECT * FROM INFORMATION_SCHEMA.columns
SELECT * FROM "information_schema"."tables"
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_class
SELECT * FROM sqlite_master
SELECT * FROM main.logs
SELECT * FROM memory.main.logs
SELECT * FROM "memory"."main"."logs"
SELECT * FROM temp.logs
SELECT * FROM system.information_schema.tables
SELECT * FROM other.logs
SELECT * FROM "../secrets"
SELECT * FROM "/etc/passwd"
SELECT * FROM "other/logs"
SELECT * FROM nothere
SELECT * FROM __malamute_0
SELECT * FROM "__malamute_memtable_logs_0"
SELECT __malamute_part FROM logs
SELECT 1 AS __malamute_x
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('logs')
SELECT * FROM query_table(['logs'])
SELECT * FROM json_execute_serialized_sql('{}')
SELECT json_serialize_sql('SELECT 1')
SELECT json_deserialize_sql('{}')
SELECT json_serialize_plan('SELECT 1')
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM arrow_scan_dumb(1, 2, 3)
SELECT * FROM pandas_scan(1)
SELECT * FROM python_map_function(1)
SELECT * FROM seq_scan('logs')
SELECT * FROM index_scan('logs')
SELECT * FROM which_secret('x', 's3')
SELECT * FROM test_all_types()
SELECT * FROM repeat_row(1, 2, num_rows = 3)
SELECT * FROM summary((SELECT 1))
SELECT * FROM enable_logging()
SELECT write_log('x')
SELECT * FROM enable_profiling()
SELECT finalize(to_aggregate_state('a', 'avg', ['DOUBLE']))
SELECT to_aggregate_state('\x00'::BLOB, 'list', ['VARCHAR'])
SELECT combine_aggr(1)
SELECT combine(1, 2)
SELECT sleep_ms(100000)
SELECT add_parquet_key('k', '0123456789112345')
SELECT force_checkpoint()
SELECT 1; SELECT 2
SELECT 1; DROP TABLE logs
SELECT 1 /* */ ; /* */ ATTACH 'x'
SELECT 1; -- x
ATTACH 'x' -- ; SELECT 1
/* SELECT */ COPY logs TO '$target'
-- SELECT
;
SELECT * FROM logs WHERE matches('service:(')
SELECT * FROM logs WHERE matches((SELECT content FROM read_text('$secret')))
SELECT * FROM logs WHERE matches(getenv('$variable'))
SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range < 0
SELECT list(range) FROM range(10000000000)
SELECT count(DISTINCT repeat(range::VARCHAR, 1000)) FROM range(100000000)
SELECT string_agg(repeat('x', 1000000), '') FROM range(100000)
SELECT count(*) FROM generate_series(1, 100000000000) g(x) WHERE x % 2 = 3
WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x
WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n FROM x) SELECT max(n) FROM x
SELECT count(*) FROM logs a, logs b, logs c, logs d, logs e, logs f
SELECT range FROM range(10000000000) ORDER BY range DESC
---- refused: files once more, where they hide
SELECT * FROM read_parquet('$data/payroll-0-0.parquet')
SELECT * FROM '$data/payroll-0-0.parquet'
SELECT * FROM "$data/payroll-0-0.parquet"
SELECT * FROM '$data/*.parquet'
SELECT * FROM parquet_file_metadata('$data/payroll-0-0.parquet')
SELECT * FROM parquet_bloom_probe('$data/payroll-0-0.parquet', 'salary', 1)
SELECT id FROM logs LIMIT (SELECT length(content) FROM read_text('$secret'))
SELECT sum(id) OVER (ORDER BY (SELECT content FROM read_text('$secret'))) FROM logs
SELECT list_transform([1], lambda x: (SELECT content FROM read_text('$secret')))
SELECT [content FOR content IN read_text('$secret')]
SELECT '$secret'.read_text()
SELECT READ_TEXT/**/('$secret')
SELECT * FROM "read_text"('$secret')
SELECT * FROM system.main.read_text('$secret')
SELECT * FROM (SUMMARIZE FROM read_text('$secret'))
SELECT * FROM (DESCRIBE FROM read_text('$secret'))
SELECT CAST('a' AS ENUM (SELECT content FROM read_text('$secret')))
SELECT * FROM logs TABLESAMPLE (SELECT 1 FROM read_text('$secret'))
PIVOT logs ON level IN (SELECT content FROM read_text('$secret')) USING count(*)
TABLE '$secret'
---- refused: other tenants and what the process holds
SELECT * FROM payroll
SELECT * FROM PAYROLL
SELECT salary FROM logs, payroll
SELECT id FROM logs WHERE id IN (SELECT salary FROM payroll)
SELECT * FROM acme.payroll
SELECT * FROM "acme/payroll"
DESCRIBE payroll
SUMMARIZE payroll
EXPLAIN SELECT * FROM payroll
SELECT id FROM logs WHERE matches('name:x', payroll)
SELECT * FROM canary
SELECT * FROM "canary"
SHOW ALL TABLES
SHOW DATABASES
SHOW TABLES FROM main
---- refused: states and serialized queries
SELECT sum(id) EXPORT_STATE FROM logs WHERE finalize(id) = 1
SELECT finalize('\xDE\xAD\xBE\xEF'::BLOB)
SELECT finalize(sum(id) EXPORT_STATE) FROM logs
SELECT finalize(CAST('\x00' AS AGGREGATE_STATE<sum(BIGINT)>))
SELECT json_execute_serialized_sql('x')
FROM query('FROM duckdb_settings()')
SELECT user
SELECT current_role
SELECT sum(id) EXPORT_STATE FROM logs
---- refused: characters that look like others
SELECT 1； DROP TABLE logs
SELECT 1; DROP TABLE logs
﻿DROP TABLE logs
SELECT 1 ; DROP TABLE logs
SELECT 1  ; DROP TABLE logs
DR​OP TABLE logs
SELECT * FROM “logs”
SELECT getеnv('$variable')
SELECT * FROM "lоgs"
SELECT * FROM "logs "
SELECT * FROM ""
ＤＲＯＰ TABLE logs
SELECT ｇｅｔｅｎｖ('$variable')
/*! DROP TABLE logs */
/* a /* nested */ DROP TABLE logs
SELECT $$a$$; DROP TABLE logs
SELECT 'unclosed
SELECT /* unclosed
---- refused: more than there is
SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 0
SELECT repeat('x', 10000000000)
SELECT length(repeat(repeat(repeat('x', 10000), 10000), 10000))
SELECT generate_series(1, 10000000000)
SELECT list_resize([1], 10000000000)
SELECT median(range) FROM range(1000000000)
SELECT row_number() OVER (ORDER BY hash(range)) FROM range(100000000)
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT a.n FROM t a, t b) SELECT count(*) FROM t
WITH RECURSIVE t AS (SELECT 'x' AS n UNION ALL SELECT n || n FROM t) SELECT max(length(n)) FROM t
WITH RECURSIVE t AS (SELECT id FROM logs UNION ALL SELECT id + 1 FROM t) SELECT count(*) FROM t
WITH c0 AS (SELECT 'x' AS s), c1 AS (SELECT s || s AS s FROM c0), c2 AS (SELECT s || s AS s FROM c1), c3 AS (SELECT s || s AS s FROM c2), c4 AS (SELECT s || s AS s FROM c3), c5 AS (SELECT s || s AS s FROM c4), c6 AS (SELECT s || s AS s FROM c5), c7 AS (SELECT s || s AS s FROM c6), c8 AS (SELECT s || s AS s FROM c7), c9 AS (SELECT s || s AS s FROM c8), c10 AS (SELECT s || s AS s FROM c9), c11 AS (SELECT s || s AS s FROM c10), c12 AS (SELECT s || s AS s FROM c11), c13 AS (SELECT s || s AS s FROM c12), c14 AS (SELECT s || s AS s FROM c13), c15 AS (SELECT s || s AS s FROM c14), c16 AS (SELECT s || s AS s FROM c15), c17 AS (SELECT s || s AS s FROM c16), c18 AS (SELECT s || s AS s FROM c17), c19 AS (SELECT s || s AS s FROM c18), c20 AS (SELECT s || s AS s FROM c19), c21 AS (SELECT s || s AS s FROM c20), c22 AS (SELECT s || s AS s FROM c21), c23 AS (SELECT s || s AS s FROM c22), c24 AS (SELECT s || s AS s FROM c23), c25 AS (SELECT s || s AS s FROM c24), c26 AS (SELECT s || s AS s FROM c25), c27 AS (SELECT s || s AS s FROM c26), c28 AS (SELECT s || s AS s FROM c27), c29 AS (SELECT s || s AS s FROM c28) SELECT strlen(s) FROM c29
WITH c0 AS (SELECT 'x' AS s), c1 AS (SELECT concat(s, s, s) AS s FROM c0), c2 AS (SELECT concat(s, s, s) AS s FROM c1), c3 AS (SELECT concat(s, s, s) AS s FROM c2), c4 AS (SELECT concat(s, s, s) AS s FROM c3), c5 AS (SELECT concat(s, s, s) AS s FROM c4), c6 AS (SELECT concat(s, s, s) AS s FROM c5), c7 AS (SELECT concat(s, s, s) AS s FROM c6), c8 AS (SELECT concat(s, s, s) AS s FROM c7), c9 AS (SELECT concat(s, s, s) AS s FROM c8), c10 AS (SELECT concat(s, s, s) AS s FROM c9), c11 AS (SELECT concat(s, s, s) AS s FROM c10), c12 AS (SELECT concat(s, s, s) AS s FROM c11), c13 AS (SELECT concat(s, s, s) AS s FROM c12), c14 AS (SELECT concat(s, s, s) AS s FROM c13), c15 AS (SELECT concat(s, s, s) AS s FROM c14), c16 AS (SELECT concat(s, s, s) AS s FROM c15), c17 AS (SELECT concat(s, s, s) AS s FROM c16), c18 AS (SELECT concat(s, s, s) AS s FROM c17), c19 AS (SELECT concat(s, s, s) AS s FROM c18) SELECT strlen(s) FROM c19
WITH c0 AS (SELECT 'x' AS s), c1 AS (SELECT hex(s) AS s FROM c0), c2 AS (SELECT hex(s) AS s FROM c1), c3 AS (SELECT hex(s) AS s FROM c2), c4 AS (SELECT hex(s) AS s FROM c3), c5 AS (SELECT hex(s) AS s FROM c4), c6 AS (SELECT hex(s) AS s FROM c5), c7 AS (SELECT hex(s) AS s FROM c6), c8 AS (SELECT hex(s) AS s FROM c7), c9 AS (SELECT hex(s) AS s FROM c8), c10 AS (SELECT hex(s) AS s FROM c9), c11 AS (SELECT hex(s) AS s FROM c10), c12 AS (SELECT hex(s) AS s FROM c11), c13 AS (SELECT hex(s) AS s FROM c12), c14 AS (SELECT hex(s) AS s FROM c13), c15 AS (SELECT hex(s) AS s FROM c14), c16 AS (SELECT hex(s) AS s FROM c15), c17 AS (SELECT hex(s) AS s FROM c16), c18 AS (SELECT hex(s) AS s FROM c17), c19 AS (SELECT hex(s) AS s FROM c18), c20 AS (SELECT hex(s) AS s FROM c19), c21 AS (SELECT hex(s) AS s FROM c20), c22 AS (SELECT hex(s) AS s FROM c21), c23 AS (SELECT hex(s) AS s FROM c22), c24 AS (SELECT hex(s) AS s FROM c23), c25 AS (SELECT hex(s) AS s FROM c24), c26 AS (SELECT hex(s) AS s FROM c25), c27 AS (SELECT hex(s) AS s FROM c26), c28 AS (SELECT hex(s) AS s FROM c27), c29 AS (SELECT hex(s) AS s FROM c28), c30 AS (SELECT hex(s) AS s FROM c29) SELECT strlen(s) FROM c30
WITH c0 AS (SELECT 'x' AS s), c1 AS (SELECT format('{0}{0}', s) AS s FROM c0), c2 AS (SELECT format('{0}{0}', s) AS s FROM c1), c3 AS (SELECT format('{0}{0}', s) AS s FROM c2), c4 AS (SELECT format('{0}{0}', s) AS s FROM c3), c5 AS (SELECT format('{0}{0}', s) AS s FROM c4), c6 AS (SELECT format('{0}{0}', s) AS s FROM c5), c7 AS (SELECT format('{0}{0}', s) AS s FROM c6), c8 AS (SELECT format('{0}{0}', s) AS s FROM c7), c9 AS (SELECT format('{0}{0}', s) AS s FROM c8), c10 AS (SELECT format('{0}{0}', s) AS s FROM c9), c11 AS (SELECT format('{0}{0}', s) AS s FROM c10), c12 AS (SELECT format('{0}{0}', s) AS s FROM c11), c13 AS (SELECT format('{0}{0}', s) AS s FROM c12), c14 AS (SELECT format('{0}{0}', s) AS s FROM c13), c15 AS (SELECT format('{0}{0}', s) AS s FROM c14), c16 AS (SELECT format('{0}{0}', s) AS s FROM c15), c17 AS (SELECT format('{0}{0}', s) AS s FROM c16), c18 AS (SELECT format('{0}{0}', s) AS s FROM c17), c19 AS (SELECT format('{0}{0}', s) AS s FROM c18), c20 AS (SELECT format('{0}{0}', s) AS s FROM c19), c21 AS (SELECT format('{0}{0}', s) AS s FROM c20), c22 AS (SELECT format('{0}{0}', s) AS s FROM c21), c23 AS (SELECT format('{0}{0}', s) AS s FROM c22), c24 AS (SELECT format('{0}{0}', s) AS s FROM c23), c25 AS (SELECT format('{0}{0}', s) AS s FROM c24), c26 AS (SELECT format('{0}{0}', s) AS s FROM c25), c27 AS (SELECT format('{0}{0}', s) AS s FROM c26), c28 AS (SELECT format('{0}{0}', s) AS s FROM c27), c29 AS (SELECT format('{0}{0}', s) AS s FROM c28), c30 AS (SELECT format('{0}{0}', s) AS s FROM c29) SELECT strlen(s) FROM c30
WITH c0 AS (SELECT 'x' AS s), c1 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c0), c2 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c1), c3 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c2), c4 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c3), c5 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c4), c6 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c5), c7 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c6), c8 AS (SELECT replace(s, 'x', 'xxxxxxxxxxxxxxxx') AS s FROM c7) SELECT strlen(s) FROM c8
SELECT strlen(s) FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT s || s AS s FROM (SELECT service AS s FROM logs))))))))))))))))))))))))))))))
SELECT service AS s0, s0 || s0 AS s1, s1 || s1 AS s2, s2 || s2 AS s3, s3 || s3 AS s4, s4 || s4 AS s5, s5 || s5 AS s6, s6 || s6 AS s7, s7 || s7 AS s8, s8 || s8 AS s9, s9 || s9 AS s10, s10 || s10 AS s11, s11 || s11 AS s12, s12 || s12 AS s13, s13 || s13 AS s14, s14 || s14 AS s15, s15 || s15 AS s16, s16 || s16 AS s17, s17 || s17 AS s18, s18 || s18 AS s19, s19 || s19 AS s20, s20 || s20 AS s21, s21 || s21 AS s22, s22 || s22 AS s23, s23 || s23 AS s24, s24 || s24 AS s25, s25 || s25 AS s26, s26 || s26 AS s27, s27 || s27 AS s28, s28 || s28 AS s29, s29 || s29 AS s30, s30 || s30 AS s31, s31 || s31 AS s32, s32 || s32 AS s33, s33 || s33 AS s34, s34 || s34 AS s35, s35 || s35 AS s36, s36 || s36 AS s37, s37 || s37 AS s38, s38 || s38 AS s39 FROM logs
SELECT strlen(list_reduce([n::VARCHAR for n in range(40)], lambda a, b: a || a)) FROM logs
WITH RECURSIVE t AS (SELECT service AS s, 1 AS n FROM logs UNION ALL SELECT s || s, n + 1 FROM t WHERE n < 30) SELECT max(strlen(s)) FROM t
---- refused as mysql
SELECT * FROM `$secret`
SELECT LOAD_FILE('$secret')
SELECT * FROM logs INTO OUTFILE '$target'
SET GLOBAL general_log = 1
SELECT 1; DROP TABLE logs
SHOW VARIABLES
---- refused as postgres
SELECT pg_read_file('$secret')
COPY logs TO PROGRAM 'cat > $target'
SELECT lo_import('$secret')
SELECT current_setting('data_directory')
SELECT * FROM pg_catalog.pg_class
DO $$ BEGIN PERFORM 1; END $$
---- refused as clickhouse
SELECT * FROM file('$secret', 'CSV')
SELECT * FROM url('http://127.0.0.1:1/', 'CSV')
SELECT * FROM system.tables
SELECT * FROM remote('127.0.0.1', 'a.b')
SELECT getSetting('max_threads')
SELECT * FROM logs INTO OUTFILE '$target'
---- refused as tsql
EXEC xp_cmdshell 'cat $secret'
SELECT * FROM OPENROWSET(BULK '$secret', SINGLE_CLOB) AS x
SELECT * INTO x FROM logs
---- refused as snowflake
SELECT $1 FROM @stage/file.csv
COPY INTO @stage FROM logs
SELECT * FROM logs AT (OFFSET => -60)
---- refused as spark
SELECT * FROM csv.`$secret`
SELECT * FROM parquet.`$data/payroll-0-0.parquet`
SELECT java_method('java.lang.System', 'getenv', '$variable')
---- refused as bigquery
SELECT * FROM `project.acme.payroll`
EXECUTE IMMEDIATE 'SELECT 1'
EXPORT DATA OPTIONS (uri = '$target') AS SELECT 1
---- harmless: texts, names and comments that look like something else
SELECT 'DROP TABLE logs' AS x
SELECT $$it's ; -- fine$$ AS x
SELECT 'a' /* ; DROP TABLE logs */ AS x
SELECT 1 AS x -- ; DROP TABLE logs
SELECT 1 AS "getenv('$variable')"
SELECT payroll, logs.payroll, payroll.salary FROM logs
SELECT canary.x FROM logs
SELECT "$secret" FROM logs
SELECT current_setting, getenv, version FROM logs
SELECT information_schema.tables FROM logs
SELECT main.logs.id, memory.main.logs.id FROM logs
WITH payroll AS (SELECT 1 AS salary) SELECT * FROM payroll
WITH duckdb_settings AS (SELECT 1 AS name) SELECT * FROM duckdb_settings
WITH read_text AS (SELECT 1 AS content) SELECT * FROM read_text
SELECT id FROM logs WHERE matches('service:"x'' OR getenv(''$variable'')"')
SELECT id FROM logs WHERE matches('$secret')
SELECT strptime('x', '%Y'), parse_path('$secret') FROM logs
SELECT '2026-01-01'::TIMESTAMPTZ AT TIME ZONE '../../etc/passwd' AS x
SELECT 'x' COLLATE "../x" AS x
SELECT error('boom') FROM logs
SELECT regexp_matches('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', '^(a+)+$') AS x
SELECT COLUMNS('(.*)+') FROM logs LIMIT 1
SELECT * FROM logs LIMIT 3
SELECT _rest, _shard, _offset, _ingested_at FROM logs LIMIT 1
SELECT unnest(l) FROM logs l LIMIT 1
SHOW STREAMS
DESCRIBE logs
SUMMARIZE logs
SHOW TABLES
