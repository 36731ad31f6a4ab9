-- Forms of SELECT that the engine's documentation describes. A statement begins at the start of a line and goes on
-- over indented lines. `logs` and `traces` are the streams of tests/unit/test_query_shards.py.

-- FROM first
FROM logs
FROM logs SELECT id, service WHERE id < 5 ORDER BY id
FROM logs WHERE id < 5 ORDER BY id
FROM logs SELECT count(*)
FROM logs LIMIT 0
FROM (FROM logs SELECT id WHERE id < 4) ORDER BY id
FROM logs l JOIN traces t ON l.id = t.id SELECT l.id, t.span ORDER BY ALL
WITH t AS (FROM logs SELECT id, level) FROM t SELECT count(level)
FROM traces ORDER BY id DESC LIMIT 3
FROM traces SELECT DISTINCT service ORDER BY 1

-- PIVOT and UNPIVOT
PIVOT logs ON level USING count(*) GROUP BY service ORDER BY service
PIVOT logs ON level USING count(*)
PIVOT logs ON level USING sum(id) AS total, max(id) AS top GROUP BY service ORDER BY service
PIVOT logs ON level IN ('info', 'warn') USING count(*) GROUP BY service ORDER BY service
PIVOT logs ON level, ok USING count(*) GROUP BY service ORDER BY service
PIVOT logs ON level || '-' || ok USING count(*) GROUP BY service ORDER BY service
PIVOT logs ON http.status_code USING count(*) GROUP BY service ORDER BY service
PIVOT logs ON http.status_code USING avg(id) GROUP BY service, level ORDER BY ALL
PIVOT logs ON id % 3 USING count(*) GROUP BY service ORDER BY service
PIVOT (SELECT service, level, id FROM logs WHERE id < 50) ON level USING sum(id) ORDER BY service
PIVOT (FROM logs SELECT service, level) ON level GROUP BY service ORDER BY service
PIVOT traces ON service USING sum(span) GROUP BY id ORDER BY id LIMIT 5
PIVOT_WIDER logs ON level USING count(*) GROUP BY service ORDER BY service
WITH p AS (PIVOT logs ON level USING count(*) GROUP BY service) SELECT service, info + warn AS n FROM p ORDER BY service
SELECT * FROM (PIVOT logs ON level USING count(*) GROUP BY service) AS p ORDER BY service
SELECT p.service, p.error FROM (PIVOT logs ON level USING sum(id) GROUP BY service) p WHERE p.error > 10 ORDER BY 1
SELECT * FROM (PIVOT logs ON level USING count(*) GROUP BY service) JOIN (PIVOT traces ON span % 2 USING count(*)
  GROUP BY service) USING (service) ORDER BY service
SELECT * FROM (SELECT service, level, id FROM logs) PIVOT (sum(id) FOR level IN ('info', 'warn')) ORDER BY service
SELECT * FROM (SELECT service, level, id FROM logs) PIVOT (sum(id) AS s, count(*) AS n FOR level IN ('info', 'warn' AS w)) ORDER BY service
SELECT * FROM logs PIVOT (count(*) FOR level IN ('info', 'warn', 'error') GROUP BY service) ORDER BY service
SELECT * FROM logs PIVOT (count(*) FOR http.status_code IN (200, 404) GROUP BY service) AS p ORDER BY service
SELECT * FROM logs PIVOT (count(*) FOR level IN ('info', 'warn') ok IN (true, false) GROUP BY service) ORDER BY service
SELECT p.w FROM logs PIVOT (max(id) FOR level IN ('warn' AS w) GROUP BY service) AS p ORDER BY 1
FROM traces PIVOT (sum(span) FOR service IN ('web', 'db') GROUP BY id) ORDER BY id LIMIT 4
UNPIVOT traces ON id, span INTO NAME what VALUE number ORDER BY ALL
UNPIVOT traces ON id, span INTO NAME what VALUE number ORDER BY what, number LIMIT 10
UNPIVOT traces ON COLUMNS(* EXCLUDE (service, timestamp)) INTO NAME what VALUE number ORDER BY ALL LIMIT 5
UNPIVOT (SELECT id, service, level FROM logs WHERE id < 20) ON service, level ORDER BY ALL
UNPIVOT (SELECT id, size, http.status_code FROM logs) ON size, "http.status_code" INTO NAME path VALUE v ORDER BY ALL
UNPIVOT logs ON http.status_code, id INTO NAME path VALUE v ORDER BY ALL LIMIT 20
UNPIVOT traces ON (id, span) AS pair INTO NAME n VALUE a, b ORDER BY ALL
SELECT * FROM traces UNPIVOT (number FOR what IN (id, span)) ORDER BY ALL
SELECT * FROM (SELECT id, level, service FROM logs) UNPIVOT INCLUDE NULLS (v FOR k IN (level, service)) ORDER BY id, k, v
SELECT k, count(*) FROM (SELECT id, level, service FROM logs) UNPIVOT (v FOR k IN (level, service)) GROUP BY k ORDER BY k
SELECT what, sum(number) FROM (UNPIVOT traces ON id, span INTO NAME what VALUE number) GROUP BY what ORDER BY what
FROM (UNPIVOT traces ON id, span INTO NAME what VALUE number) SELECT max(number)
WITH u AS (UNPIVOT traces ON id, span INTO NAME what VALUE number) SELECT what, avg(number) FROM u GROUP BY ALL ORDER BY ALL

-- method chains
SELECT service.upper() AS u FROM logs WHERE id < 9 ORDER BY id
SELECT service.upper().lower().length() AS n FROM logs WHERE id < 9 ORDER BY id
SELECT l.service.upper() AS u, l.http.status_code.abs() AS c FROM logs l WHERE l.id < 9 ORDER BY l.id
SELECT http.status_code.greatest(300) AS f FROM logs WHERE id < 9 ORDER BY id
SELECT ('a' || service).upper() AS u FROM logs WHERE id < 9 ORDER BY id
SELECT 'hello'.upper() AS u
SELECT level.trim().upper().replace('I', 'x') AS u, count(*) FROM logs GROUP BY u ORDER BY u
SELECT service FROM logs WHERE service.starts_with('w') AND id < 30 ORDER BY id
SELECT (tags.list_transform(lambda x: x.upper())).array_to_string('-') AS t FROM logs WHERE id < 30 ORDER BY id
SELECT tags.len() AS n, count(*) FROM logs GROUP BY n ORDER BY n
SELECT id FROM logs WHERE tags.list_contains('a') AND id < 50 ORDER BY id.abs(), id
SELECT max(id).add(1) AS m FROM logs
SELECT concat(service, level).upper() AS u FROM logs WHERE id < 9 ORDER BY id
SELECT service.left(1).repeat(3) AS r FROM logs WHERE id < 9 ORDER BY id
SELECT [1, 2, 3].list_sum() AS s, {'a': 1}.struct_keys() AS k
SELECT a.b.c.d.e.upper() AS deep FROM logs WHERE a.b.c.d.e IS NOT NULL AND id < 40 ORDER BY id
SELECT sum(http.status_code.abs()) AS s FROM logs
SELECT timestamp.minute() AS x FROM logs WHERE id < 20 ORDER BY id
SELECT service.substring(1, 2).upper() AS s, count(*) AS n FROM logs GROUP BY ALL ORDER BY ALL
SELECT t.n.add(1) AS x FROM (SELECT id AS n FROM logs WHERE id < 5) t ORDER BY x

-- column aliases
SELECT a, b FROM traces AS t(x, a, b) ORDER BY a LIMIT 3
SELECT * FROM traces AS t(a, b) ORDER BY b LIMIT 3
SELECT t.* FROM traces AS t(a, b, c, d) ORDER BY 2 LIMIT 3
FROM traces t(moment, number) SELECT number, span ORDER BY number DESC LIMIT 3
SELECT l.n, t.m FROM (SELECT id FROM logs) AS l(n) JOIN (SELECT id FROM traces) t(m) ON n = m ORDER BY ALL LIMIT 5
SELECT q.a, q.b FROM (VALUES (1, 'x'), (2, 'y')) AS q(a, b) ORDER BY a
WITH t(a, b) AS (SELECT id, service FROM logs) SELECT a FROM t WHERE b = 'web' ORDER BY a LIMIT 4
SELECT x.moment < y.moment AS earlier, count(*) FROM traces x(moment, id) JOIN traces y(moment, id) USING (id) GROUP BY ALL
SELECT max(when_) FROM logs AS l(when_)
SELECT one.a FROM traces AS one(t, a) WHERE one.a IN (SELECT two.b FROM traces AS two(t, b) WHERE two.b < 6) ORDER BY 1
SELECT g.n FROM range(4) AS g(n) ORDER BY n
SELECT COUNT(*) FROM traces AS t(a) WHERE a IS NOT NULL

-- DESCRIBE and SUMMARIZE
DESCRIBE SELECT id, service, size FROM logs
DESCRIBE SELECT * FROM traces
DESCRIBE SELECT count(*) AS n, avg(size) AS a FROM logs
DESC SELECT id FROM logs
DESCRIBE FROM traces
DESCRIBE WITH t AS (SELECT id FROM logs) SELECT * FROM t
SELECT column_name, column_type FROM (DESCRIBE SELECT id, tags FROM logs) ORDER BY ALL
SELECT * FROM (DESCRIBE traces)
SUMMARIZE SELECT id, service FROM traces
SUMMARIZE traces
SELECT column_name, min, max, count FROM (SUMMARIZE SELECT id, level FROM logs)
SELECT column_name FROM (SUMMARIZE traces) WHERE null_percentage = 0 ORDER BY 1
FROM (SUMMARIZE traces) SELECT column_name, column_type
SUMMARIZE VALUES (1), (2)

-- joins
SELECT l.id, t.span FROM logs l ASOF JOIN traces t ON l.service = t.service AND l.id >= t.id ORDER BY ALL LIMIT 20
SELECT l.id, t.span FROM logs l ASOF LEFT JOIN traces t ON l.id >= t.id AND l.service = t.service ORDER BY ALL LIMIT 20
SELECT l.id, t.span FROM logs l ASOF JOIN traces t USING (service, id) ORDER BY ALL LIMIT 20
SELECT l.timestamp, t.id FROM logs l ASOF JOIN traces t USING (timestamp) ORDER BY ALL LIMIT 5
SELECT a.x, b.y FROM (VALUES (1), (2)) a(x) POSITIONAL JOIN (VALUES (3), (4), (5)) b(y) ORDER BY y
SELECT l.id FROM logs l SEMI JOIN traces t ON l.id = t.id ORDER BY 1
SELECT l.id FROM logs l ANTI JOIN traces t ON l.id = t.id AND t.service = l.service ORDER BY 1
SELECT id FROM logs SEMI JOIN traces USING (id) ORDER BY id
SELECT * FROM traces a ANTI JOIN (SELECT id FROM traces WHERE id > 4) b USING (id) ORDER BY id
SELECT l.id, t.id FROM logs l CROSS JOIN traces t WHERE l.id < 3 AND t.id < 5 ORDER BY ALL
SELECT l.id, m.n FROM logs l LEFT JOIN LATERAL (SELECT max(span) AS n FROM traces t WHERE t.id < l.id) m ON true
  WHERE l.id < 8 ORDER BY l.id
SELECT l.id, m.n FROM logs l, LATERAL (SELECT l.id + 1 AS n) m WHERE l.id < 4 ORDER BY 1
SELECT l.id, m.n FROM logs l, (SELECT l.id * 2 AS n) m WHERE l.id < 4 ORDER BY 1
SELECT i, j FROM range(3) t(i), LATERAL (SELECT i + 1) u(j) ORDER BY ALL
SELECT * FROM traces NATURAL JOIN (SELECT id, level FROM logs) ORDER BY id LIMIT 5
SELECT count(*) FROM logs l NATURAL LEFT JOIN (SELECT id, span FROM traces) t WHERE span IS NULL
SELECT l.id FROM logs l LEFT OUTER JOIN traces t USING (id) WHERE t.id IS NULL AND l.id < 30 ORDER BY 1
SELECT count(*) FROM logs l FULL OUTER JOIN traces t USING (id, service)
SELECT l.id, t.id FROM (logs l JOIN traces t ON l.id = t.id) JOIN traces u ON u.id = t.id WHERE u.span < 6 ORDER BY 1
SELECT count(*) FROM logs l INNER JOIN traces t ON l.id BETWEEN t.id AND t.id + 1
SELECT l.id FROM logs l JOIN traces t ON l.id = t.id AND l.service IN ('web', 'db') WHERE t.span > 3 ORDER BY ALL
SELECT s.service, n, m FROM (SELECT service, count(*) AS n FROM logs GROUP BY 1) s
  JOIN (SELECT service, count(*) AS m FROM traces GROUP BY 1) t USING (service) ORDER BY ALL
SELECT l.id AS lid, r.id AS rid FROM logs AS l LEFT JOIN logs AS r ON r.id = l.id + 1 WHERE l.id > 395 ORDER BY lid
SELECT g, count(l.id) FROM generate_series(0, 6) AS s(g) LEFT JOIN logs l ON l.id % 7 = g GROUP BY g ORDER BY g
SELECT h, count(id) FROM generate_series(TIMESTAMPTZ '2026-01-01 00:00:00+00', TIMESTAMPTZ '2026-01-01 00:45:00+00', INTERVAL 5 MINUTE) AS g(h)
  LEFT JOIN logs ON timestamp >= h AND timestamp < h + INTERVAL 5 MINUTE GROUP BY h ORDER BY h
SELECT logs.id, traces.span FROM logs JOIN traces ON logs.id = traces.id ORDER BY 1 LIMIT 3
SELECT l.* EXCLUDE (timestamp, tags), t.span FROM logs l JOIN traces t USING (id) ORDER BY l.id LIMIT 4

-- grouping
SELECT service, level, count(*) FROM logs GROUP BY ALL ORDER BY ALL
SELECT service, level, count(*) FROM logs GROUP BY CUBE (service, level) ORDER BY ALL
SELECT service, level, grouping(service, level) AS g, count(*) FROM logs GROUP BY ROLLUP (service, level) ORDER BY ALL
SELECT service, level, grouping_id(service, level) AS g FROM logs GROUP BY CUBE (service, level) ORDER BY ALL
SELECT service, level, count(*) FROM logs GROUP BY GROUPING SETS ((service, level), (service), ()) ORDER BY ALL
SELECT service, ok, level, count(*) FROM logs GROUP BY service, ROLLUP (level, ok) ORDER BY ALL
SELECT service, http.status_code, count(*) FROM logs GROUP BY ROLLUP (service, http.status_code) ORDER BY ALL
SELECT count(*) FROM logs GROUP BY ()
SELECT service, count(*) AS n FROM logs GROUP BY service HAVING n > (SELECT count(*) / 5 FROM logs) ORDER BY ALL
SELECT id // 100 AS hundred, count(*) FROM logs GROUP BY hundred ORDER BY hundred
SELECT service, count(*) FILTER (WHERE ok) AS yes, count(*) FILTER (NOT ok) AS no FROM logs GROUP BY 1 ORDER BY 1
SELECT sum(count(*)) OVER () AS total, service FROM logs GROUP BY service ORDER BY service
SELECT service, any_value(service ORDER BY id) AS s FROM logs GROUP BY ALL ORDER BY ALL
SELECT count(*), HAVING_ FROM (SELECT service AS HAVING_ FROM logs) GROUP BY HAVING_ ORDER BY ALL

-- windows
SELECT id, rank() OVER w, dense_rank() OVER w FROM logs WINDOW w AS (PARTITION BY service ORDER BY level, id) ORDER BY id LIMIT 20
SELECT id, lag(id, 2, -1) OVER (ORDER BY id) AS p, lead(id) OVER (ORDER BY id) AS n FROM logs ORDER BY id LIMIT 8
SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) AS s FROM logs ORDER BY id LIMIT 9
SELECT id, sum(id) OVER (ORDER BY id // 3 RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) AS s FROM logs ORDER BY id LIMIT 9
SELECT id, count(*) OVER (ORDER BY id // 4 GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS s FROM logs ORDER BY id LIMIT 9
SELECT id, count(*) OVER (ORDER BY timestamp RANGE BETWEEN INTERVAL 1 MINUTE PRECEDING AND CURRENT ROW) AS n FROM logs ORDER BY id LIMIT 20
SELECT id, first_value(level IGNORE NULLS) OVER (ORDER BY id) AS f, nth_value(id, 2) OVER (ORDER BY id) AS t FROM logs ORDER BY id LIMIT 9
SELECT id, last_value(level RESPECT NULLS) OVER (ORDER BY id) AS f FROM logs ORDER BY id LIMIT 9
SELECT id, count(DISTINCT level) OVER (PARTITION BY service) AS n FROM logs ORDER BY id LIMIT 9
SELECT id, count(*) FILTER (WHERE ok) OVER (PARTITION BY service) AS n FROM logs ORDER BY id LIMIT 9
SELECT id, ntile(4) OVER (ORDER BY id) AS q, percent_rank() OVER (ORDER BY id) AS p, cume_dist() OVER (ORDER BY id) AS c FROM logs ORDER BY id LIMIT 5
SELECT service, id FROM logs QUALIFY row_number() OVER (PARTITION BY service ORDER BY id DESC) = 1 ORDER BY service
SELECT service, sum(id) AS s, rank() OVER (ORDER BY sum(id) DESC) AS r FROM logs GROUP BY service QUALIFY r < 3 ORDER BY r
SELECT id, avg(id) OVER a AS x, avg(id) OVER (a ORDER BY id) AS y FROM logs WINDOW a AS (PARTITION BY service) ORDER BY id LIMIT 9
SELECT id, fill(http.status_code ORDER BY id) OVER (ORDER BY id) AS f FROM logs ORDER BY id LIMIT 3
SELECT id, row_number() OVER () > 0 AS r FROM logs ORDER BY id LIMIT 3
SELECT id, http.status_code - lag(http.status_code) OVER (PARTITION BY service ORDER BY id) AS d FROM logs ORDER BY id LIMIT 9
SELECT id, list(id) OVER (ORDER BY id ROWS 2 PRECEDING) AS l FROM logs ORDER BY id LIMIT 4
SELECT id, rank(ORDER BY id DESC) OVER (PARTITION BY service ORDER BY id) AS r FROM logs ORDER BY id LIMIT 4

-- stars and COLUMNS
SELECT * EXCLUDE (tags) FROM logs WHERE id < 4 ORDER BY id
SELECT * EXCLUDE id, service FROM traces ORDER BY ALL LIMIT 3
SELECT * EXCLUDE (http.status_code) FROM logs WHERE id < 4 ORDER BY id
SELECT * REPLACE (upper(service) AS service) FROM traces ORDER BY id LIMIT 3
SELECT * RENAME (id AS number, span AS length) FROM traces ORDER BY number LIMIT 3
SELECT * EXCLUDE (timestamp) REPLACE (id * 2 AS id) FROM traces ORDER BY id LIMIT 3
SELECT * EXCLUDE (timestamp) REPLACE (id * 2 AS id) RENAME (span AS s) FROM traces ORDER BY id LIMIT 3
SELECT * LIKE 's%' FROM traces ORDER BY ALL LIMIT 3
SELECT * ILIKE 'S%' FROM traces ORDER BY ALL LIMIT 3
SELECT * NOT LIKE 's%' FROM traces ORDER BY ALL LIMIT 3
SELECT * SIMILAR TO 's.*' FROM traces ORDER BY ALL LIMIT 3
SELECT * GLOB 's*' FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS(*) FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS(* EXCLUDE (timestamp)) FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS('^s') FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS(['id', 'span']) FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS(lambda c: c LIKE '%a%') FROM traces ORDER BY ALL LIMIT 3
SELECT max(COLUMNS('id|span')) FROM traces
SELECT min(COLUMNS(*)) FROM traces
SELECT count(COLUMNS(* EXCLUDE (tags))) FROM logs
SELECT COLUMNS('(i)d') AS 'x_\1' FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS('id|span')::VARCHAR FROM traces ORDER BY ALL LIMIT 3
SELECT COLUMNS('id|span') + COLUMNS('id|span') FROM traces ORDER BY ALL LIMIT 3
SELECT coalesce(*COLUMNS('id|span')) AS c FROM traces ORDER BY c LIMIT 3
SELECT greatest(*COLUMNS(['id', 'span'])) AS c FROM traces ORDER BY c LIMIT 3
SELECT id FROM traces WHERE COLUMNS('id|span') < 5 ORDER BY id
SELECT struct_pack(*COLUMNS('id|span')) AS s FROM traces ORDER BY ALL LIMIT 3
SELECT t.* FROM traces t ORDER BY id LIMIT 3
SELECT traces.* FROM traces ORDER BY id LIMIT 3
SELECT t.* EXCLUDE (span) FROM traces t ORDER BY id LIMIT 3
SELECT t.* REPLACE (t.id + 1 AS id) FROM traces t ORDER BY id LIMIT 3
SELECT *, id + 1 AS next FROM traces ORDER BY id LIMIT 3
SELECT id AS before, * FROM traces ORDER BY before LIMIT 3
SELECT count(*), count(t.*) FROM traces t
SELECT t FROM traces t ORDER BY id LIMIT 3
SELECT traces FROM traces ORDER BY traces.id LIMIT 3
SELECT t.id, t FROM (SELECT id, service FROM logs WHERE id < 4) t ORDER BY 1
SELECT struct_extract(t, 'span') AS s FROM traces t ORDER BY s LIMIT 3
SELECT to_json(t) AS j FROM (SELECT id, span FROM traces) t ORDER BY ALL LIMIT 3
SELECT (t).span FROM traces t ORDER BY 1 LIMIT 3
SELECT first(t ORDER BY id).span AS s FROM traces t
SELECT s.* FROM (SELECT {'a': id, 'b': service} AS s FROM traces) ORDER BY ALL LIMIT 3
SELECT unnest({'a': id, 'b': service}) FROM traces ORDER BY ALL LIMIT 3
SELECT * FROM logs l, traces t WHERE l.id = t.id AND l.id < 5 ORDER BY ALL
SELECT * EXCLUDE (l.id, t.timestamp) FROM logs l, traces t WHERE l.id = t.id AND l.id < 5 ORDER BY ALL
SELECT * FROM traces JOIN (SELECT id FROM logs) USING (id) ORDER BY ALL LIMIT 3

-- lists, structs, maps, lambdas
SELECT [x * 2 for x in [1, 2, 3] if x > 1] AS l
SELECT [x || y for x, y in tags] IS NULL AS l FROM logs WHERE false
SELECT id, [upper(x) for x in tags] AS l FROM logs WHERE id < 20 ORDER BY id
SELECT id, list_transform(tags, lambda x, i: x || i) AS l FROM logs WHERE id < 20 ORDER BY id
SELECT id, list_filter(tags, lambda x: x = 'a' OR x = left(level, 1)) AS l FROM logs WHERE id < 20 ORDER BY id
SELECT id, list_reduce([id, 2, 3], lambda a, b: a + b) AS l FROM logs WHERE id < 5 ORDER BY id
SELECT id, tags[1], tags[-1], tags[1:2], tags[2:], tags[:1] FROM logs WHERE id < 20 ORDER BY id
SELECT id, tags[:-1:2] AS s FROM logs WHERE id < 20 ORDER BY id
SELECT service[1] AS c, service[1:2] AS p, service[-1] AS e FROM logs WHERE id < 9 ORDER BY id
SELECT {'a': id, 'b': {'c': service}}.b.c AS c FROM logs WHERE id < 5 ORDER BY id
SELECT ({'a': id}).a AS a, {'x y': id}['x y'] AS b FROM logs WHERE id < 5 ORDER BY id
SELECT struct_pack(k := id, v := service) AS s FROM logs WHERE id < 5 ORDER BY id
SELECT row(id, service) AS r, (id, service) AS p FROM logs WHERE id < 5 ORDER BY id
SELECT MAP {'a': id, 'b': 2} AS m, MAP {'a': id}['a'] AS v FROM logs WHERE id < 5 ORDER BY id
SELECT MAP([service], [id]) AS m FROM logs WHERE id < 5 ORDER BY id
SELECT map_from_entries([(service, id)]) AS m, map_keys(MAP {1: 2}) AS k FROM logs WHERE id < 5 ORDER BY id
SELECT unnest([1, 2, 3]) AS n
SELECT unnest([{'a': 1, 'b': [2]}, {'a': 3, 'b': NULL}], recursive := true)
SELECT id, unnest(tags) AS tag FROM logs WHERE id < 20 ORDER BY ALL
SELECT id, tag FROM logs, unnest(tags) AS u(tag) WHERE id < 20 ORDER BY ALL
SELECT id, tag FROM logs CROSS JOIN unnest(tags) AS u(tag) WHERE id < 20 ORDER BY ALL
SELECT id, u.tag FROM logs LEFT JOIN unnest(tags) AS u(tag) ON true WHERE id < 20 ORDER BY ALL
SELECT tag, n FROM unnest(['a', 'b']) WITH ORDINALITY AS t(tag, n) ORDER BY n
SELECT list(id ORDER BY id DESC)[1:3] AS top FROM logs
SELECT service, array_agg(DISTINCT level ORDER BY level) AS l FROM logs GROUP BY service ORDER BY service
SELECT ARRAY(SELECT id FROM logs WHERE id < 5 ORDER BY id) AS l
SELECT array_value(1, 2, 3) AS a, [1, 2, 3]::INTEGER[3] AS b, ARRAY[1, 2] AS c
SELECT list_value(id, id + 1) AS l, len([id]) AS n FROM logs WHERE id < 3 ORDER BY id
SELECT id, list_sort(tags, 'DESC') AS l, list_distinct(tags).len() AS n FROM logs WHERE id < 9 ORDER BY id
SELECT [1, 2] || [3] AS c, [1, 2] @> [1] AS h, [1, 2] && [2] AS o
SELECT 'a' IN ['a', 'b'] AS i, [1, 2] = [1, 2] AS e, list_contains([1], 1) AS c
SELECT union_value(n := 1) AS u
SELECT [[1, 2], [3]][1][2] AS x, flatten([[1], [2]]) AS f
SELECT list_zip([1, 2], ['a', 'b']) AS z, generate_series(1, 3) AS g, range(3) AS r

-- JSON
SELECT id, mixed -> '$.k[0]' AS v FROM logs WHERE mixed LIKE '{%' AND id < 200 ORDER BY id
SELECT id, mixed ->> '$.k[1]' AS v FROM logs WHERE mixed LIKE '{%' AND id < 200 ORDER BY id
SELECT id, mixed ->> 'k' AS v FROM logs WHERE mixed LIKE '{%' AND id < 200 ORDER BY id
SELECT id, (mixed -> 'k') ->> 1 AS v FROM logs WHERE mixed LIKE '{%' AND id < 200 ORDER BY id
SELECT id FROM logs WHERE mixed LIKE '{%' AND (mixed ->> '$.k[1]') = 'a' ORDER BY id
SELECT id, json_extract_string(mixed, '$.k[1]') AS v FROM logs WHERE mixed LIKE '{%' AND id < 99 ORDER BY id
SELECT json_object('s', service, 'n', id) AS j FROM logs WHERE id < 5 ORDER BY id
SELECT json_group_array(id) AS j FROM logs WHERE id = 5
SELECT '{"a": {"b": 1}}'::JSON -> 'a' -> 'b' AS v, '[1, 2]'::JSON ->> 0 AS w
SELECT e.key, e.value FROM json_each('{"a": 1, "b": 2}') e ORDER BY key
SELECT ('{"a": 1}'::JSON).a AS v, ('{"a": [1, 2]}'::JSON).a[1] AS w
SELECT json('{"a": 1}') = '{"a":1}'::JSON AS e
SELECT from_json('{"a": 1}', '{"a": "INTEGER"}').a AS v

-- set operations
SELECT id, service FROM logs WHERE id < 3 UNION BY NAME SELECT span, id FROM traces WHERE id < 4 ORDER BY ALL
SELECT id, service FROM logs WHERE id < 3 UNION ALL BY NAME SELECT service, id, span FROM traces WHERE id < 4 ORDER BY ALL
SELECT id FROM logs INTERSECT SELECT id FROM traces ORDER BY id
SELECT service FROM logs INTERSECT ALL SELECT service FROM traces ORDER BY ALL
SELECT service FROM logs EXCEPT ALL SELECT service FROM traces ORDER BY ALL
(SELECT id FROM logs ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM traces ORDER BY id DESC LIMIT 2) ORDER BY 1
SELECT id FROM logs WHERE id < 3 UNION SELECT id FROM traces WHERE id < 3 UNION ALL SELECT 7 ORDER BY id DESC LIMIT 3
SELECT id FROM logs WHERE id < 3 UNION (SELECT id FROM traces EXCEPT SELECT id FROM logs) ORDER BY ALL
FROM logs SELECT id WHERE id < 3 UNION ALL FROM traces SELECT id WHERE id < 3 ORDER BY id
VALUES (1, 'a'), (2, 'b') UNION ALL SELECT id, service FROM traces WHERE id < 3 ORDER BY ALL
SELECT count(*) FROM (SELECT service FROM logs UNION SELECT service FROM traces)
TABLE traces
(SELECT 1 AS a)
((SELECT id FROM logs WHERE id = 3))

-- common table expressions
WITH a AS (SELECT id FROM logs), b AS (SELECT id FROM a WHERE id < 5) SELECT count(*) FROM b
WITH a AS MATERIALIZED (SELECT id FROM logs) SELECT max(id) FROM a
WITH a AS NOT MATERIALIZED (SELECT id FROM logs) SELECT max(id) FROM a
WITH a AS (WITH b AS (SELECT id FROM logs) SELECT * FROM b WHERE id < 9) SELECT sum(id) FROM a
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT sum(n) FROM r
WITH RECURSIVE r(n) AS (SELECT min(id) FROM traces UNION SELECT t.id FROM r JOIN traces t ON t.id = r.n + 2 WHERE t.id < 12) SELECT * FROM r ORDER BY n
WITH RECURSIVE k(a, b) USING KEY (a) AS (SELECT 1, 3 UNION SELECT a, b - 1 FROM k WHERE b > 0) SELECT * FROM k
WITH t AS (SELECT * FROM logs) SELECT http.status_code, count(*) FROM t GROUP BY ALL ORDER BY ALL
WITH t AS (SELECT * FROM logs), u AS (SELECT * FROM traces) SELECT t.id FROM t JOIN u USING (id) WHERE t.http.status_code = 200 ORDER BY 1
WITH logs AS (SELECT id + 1000 AS id FROM logs WHERE id < 3) SELECT id FROM logs ORDER BY id
WITH t(x) AS (VALUES (1), (2)) SELECT x FROM t ORDER BY x
SELECT (WITH m AS (SELECT max(id) AS m FROM logs) SELECT m FROM m) AS top

-- DISTINCT, LIMIT, sampling, ORDER BY
SELECT DISTINCT ON (service) service, id FROM logs ORDER BY service, id DESC
SELECT DISTINCT ON (service, http.status_code) service, http.status_code, id FROM logs ORDER BY ALL
SELECT id FROM logs ORDER BY id LIMIT 10%
SELECT id FROM logs ORDER BY id LIMIT 2.5 PERCENT
SELECT id FROM logs ORDER BY id LIMIT (SELECT count(*) FROM traces) - 55
SELECT id FROM logs ORDER BY id DESC OFFSET 395
SELECT id FROM logs ORDER BY id OFFSET 395 LIMIT 3
SELECT id FROM logs ORDER BY id FETCH FIRST 3 ROWS ONLY
SELECT count(*) FROM logs USING SAMPLE 100%
SELECT count(*) FROM logs TABLESAMPLE 100%
SELECT count(*) FROM logs TABLESAMPLE reservoir(20 ROWS)
SELECT count(*) FROM (SELECT id FROM logs USING SAMPLE 7 ROWS)
SELECT count(*) < 401 AS n FROM logs TABLESAMPLE bernoulli(50 PERCENT)
SELECT count(*) FROM logs TABLESAMPLE reservoir(20 ROWS) REPEATABLE (7)
SELECT count(*) FROM logs USING SAMPLE reservoir(50 ROWS) REPEATABLE (100)
SELECT id, level FROM logs ORDER BY level DESC NULLS LAST, id ASC NULLS FIRST LIMIT 9
SELECT level, id FROM logs ORDER BY ALL DESC LIMIT 5
SELECT id, service FROM logs ORDER BY #2, #1 DESC LIMIT 4
SELECT service FROM logs ORDER BY lower(service) COLLATE NOCASE, id LIMIT 4
SELECT service, count(*) AS n FROM logs GROUP BY 1 ORDER BY #2 DESC, #1
SELECT id FROM logs ORDER BY http.status_code DESC, id LIMIT 4
SELECT id FROM logs ORDER BY random() IS NULL, id LIMIT 4
SELECT id FROM logs ORDER BY CASE service WHEN 'web' THEN 0 ELSE 1 END, id LIMIT 4

-- prefix aliases and literals
SELECT x: 1 + 1, y: 'a'
SELECT n: id, s: service FROM t: logs WHERE id < 4 ORDER BY n
SELECT 'single' AS "quoted name", 1 AS 'other'
SELECT 1_000_000 AS million, 1_0.5 AS ten, 1e-3 AS sci, .5 AS half, 5. AS five
SELECT $$it's$$ AS d, $tag$a $$ b$tag$ AS t, E'a\nb' AS e, 'it''s' AS q
SELECT '\x41'::BLOB AS b, DATE '2026-01-01' AS d, TIME '12:00' AS t, TIMESTAMP '2026-01-01 12:00' AS ts
SELECT INTERVAL 3 DAYS AS a, INTERVAL '1 month 2 days' AS b, INTERVAL (1 + 1) HOUR AS c, INTERVAL '90' SECOND AS d, '3 days'::INTERVAL AS e
SELECT 1::DECIMAL(10, 2) AS d, CAST('7' AS UTINYINT) AS u, '12'::HUGEINT AS h, 1.5::FLOAT AS f
SELECT true AS t, false AS f, NULL AS n, NULL::INTEGER AS i
SELECT -id AS a, +id AS b, ~id AS c, 5! AS d FROM logs WHERE id < 3 ORDER BY id
SELECT @(-3) AS absolute, 2 ** 3 AS power, 2 ^ 3 AS caret, 7 // 2 AS whole, 7 % 3 AS rest, 1 << 4 AS shifted, 6 & 3 AS band, 6 | 3 AS bor
SELECT 'NaN'::DOUBLE AS n, 'inf'::DOUBLE AS i, '-0'::DOUBLE AS z
SELECT DATE '2026-01-31' + INTERVAL 1 MONTH AS d, DATE '2026-01-05' - DATE '2026-01-01' AS n, DATE '2026-01-01' + 5 AS p

-- predicates
SELECT id FROM logs WHERE level IS DISTINCT FROM 'info' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE level IS NOT DISTINCT FROM NULL AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service GLOB 'w*' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service SIMILAR TO '(web|db)' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service NOT SIMILAR TO 'w.*' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service ~ 'w.*' AND service !~ 'd.*' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service ~~ 'w%' AND service !~~ 'x%' AND service ~~* 'W%' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service ^@ 'we' AND id < 30 ORDER BY id
SELECT id FROM logs WHERE service LIKE 'w$%' ESCAPE '$' OR service NOT ILIKE 'W%' ORDER BY id LIMIT 9
SELECT id FROM logs WHERE (id, service) IN ((1, 'web'), (2, 'db'), (3, 'api')) ORDER BY id
SELECT id FROM logs WHERE (id, service) IN (SELECT id, service FROM traces) ORDER BY id
SELECT id FROM logs WHERE id IN [1, 2, 3] ORDER BY id
SELECT id FROM logs WHERE level IN tags ORDER BY id
SELECT id FROM logs WHERE id = ANY (SELECT id FROM traces WHERE span < 5) ORDER BY id
SELECT id FROM logs WHERE id = ANY ([1, 5, 7]) ORDER BY id
SELECT id FROM logs WHERE id >= ALL (SELECT id FROM logs) ORDER BY id
SELECT id FROM logs WHERE id < SOME (SELECT id FROM traces WHERE id < 4) ORDER BY id
SELECT id FROM logs WHERE 'a' = ANY (tags) AND id < 40 ORDER BY id
SELECT id FROM logs WHERE id NOT BETWEEN 3 AND 396 ORDER BY id
SELECT id FROM logs WHERE ok IS TRUE AND id < 30 ORDER BY id
SELECT id FROM logs WHERE ok IS NOT TRUE AND id < 30 ORDER BY id
SELECT id FROM logs WHERE ok IS UNKNOWN AND id < 30 ORDER BY id
SELECT id FROM logs WHERE level ISNULL AND id < 30 ORDER BY id
SELECT id FROM logs WHERE level NOTNULL AND id < 30 ORDER BY id
SELECT id FROM logs l WHERE NOT EXISTS (FROM traces t WHERE t.id = l.id) AND id < 30 ORDER BY id
SELECT id FROM logs l WHERE size > (SELECT avg(size) FROM logs m WHERE m.service = l.service) ORDER BY id LIMIT 9
SELECT id, (SELECT list(span ORDER BY span) FROM traces t WHERE t.id < l.id) AS s FROM logs l WHERE id < 7 ORDER BY id
SELECT id FROM logs WHERE id == 7 OR id <> id OR id != id
SELECT CASE WHEN id < 5 THEN 'low' WHEN id < 9 THEN 'mid' END AS c, count(*) FROM logs GROUP BY c ORDER BY c
SELECT CASE service WHEN 'web' THEN 1 WHEN 'db' THEN 2 ELSE 0 END AS c, count(*) FROM logs GROUP BY c ORDER BY c
SELECT id FROM logs WHERE (SELECT true) AND id < 3 ORDER BY id
SELECT id FROM logs WHERE id < 9 AND (service, level) < ('b', 'z') ORDER BY id
SELECT id FROM logs WHERE xor(id, 1) < 4 ORDER BY id
SELECT id FROM logs WHERE if(ok, id < 20, id < 10) ORDER BY id

-- functions with a grammar of their own
SELECT TRY(CAST('x' AS INTEGER)) AS t, TRY_CAST('x' AS INTEGER) AS u, '5'::INTEGER AS v
SELECT try(ln(id - 5)) AS t FROM logs WHERE id < 9 ORDER BY id
SELECT extract(hour FROM timestamp) AS h, extract('minute' FROM timestamp) AS m, count(*) FROM logs GROUP BY ALL ORDER BY ALL
SELECT date_part(['hour', 'minute'], timestamp) AS p FROM logs WHERE id < 3 ORDER BY id
SELECT timestamp AT TIME ZONE 'Europe/Berlin' AS b FROM logs WHERE id < 3 ORDER BY id
SELECT TIMESTAMP '2026-06-01 12:00' AT TIME ZONE 'America/New_York' AS t
SELECT strftime(timestamp, '%Y-%m-%d %H:%M:%S.%f') AS s, strptime('2026-01-02', '%Y-%m-%d') AS p FROM logs WHERE id < 3 ORDER BY id
SELECT trim(both 'w' FROM service) AS t, trim(leading 'w' FROM service) AS l, trim(service) AS p FROM logs WHERE id < 9 ORDER BY id
SELECT substring(service FROM 2 FOR 1) AS s, substring(service, 1, 2) AS t FROM logs WHERE id < 9 ORDER BY id
SELECT position('e' IN service) AS p, strpos(service, 'b') AS q FROM logs WHERE id < 9 ORDER BY id
SELECT overlay('abcdef' PLACING 'xx' FROM 2 FOR 3) AS o
SELECT format('{} {:05d}', service, id) AS f, printf('%s-%d', service, id) AS p FROM logs WHERE id < 5 ORDER BY id
SELECT coalesce(level, 'none') AS l, nullif(service, 'web') AS n, ifnull(level, '?') AS i FROM logs WHERE id < 9 ORDER BY id
SELECT regexp_extract('a1b2', '([a-z])(\d)', ['l', 'd']) AS r, regexp_replace(service, '[aeiou]', '*', 'g') AS v FROM logs WHERE id < 5 ORDER BY id
SELECT string_agg(DISTINCT service, ', ' ORDER BY service) AS s FROM logs
SELECT listagg(service, '|' ORDER BY service) AS s FROM traces WHERE id < 9
SELECT quantile_disc(id, 0.5 ORDER BY id DESC) AS q FROM logs
SELECT percentile_disc(0.25) WITHIN GROUP (ORDER BY id DESC) AS p, mode() WITHIN GROUP (ORDER BY service) AS m FROM logs WHERE id < 6
SELECT arg_max(service, id) AS a, arg_min(id, id, 3) AS b, max(id, 2) AS c, min_by(service, id) AS d FROM logs
SELECT histogram(service) AS h, approx_top_k(service, 1).len() AS k FROM logs
SELECT sum(id ORDER BY id) FILTER (WHERE service = 'web') AS s FROM logs
SELECT count(DISTINCT service || level) AS n, sum(DISTINCT http.status_code) AS s FROM logs
SELECT bit_count(7) AS b, bool_and(id >= 0) AS a, bitstring_agg(id, 0, 400) AS g FROM logs
SELECT current_date = today() AS d, current_timestamp IS NULL AS n, current_localtimestamp() IS NULL AS l
SELECT typeof(id) AS t, typeof(size) AS s, hash(id) AS h, md5(service) AS m FROM logs WHERE id < 3 ORDER BY id
SELECT age(TIMESTAMP '2026-02-01', TIMESTAMP '2026-01-01') AS a, date_diff('day', DATE '2026-01-01', DATE '2026-02-01') AS d
SELECT date_trunc('hour', timestamp) AS h, time_bucket(INTERVAL '10 minutes', timestamp) AS b, count(*) FROM logs GROUP BY ALL ORDER BY ALL
SELECT epoch_ms(1000) AS e, to_timestamp(0) AS t, make_date(2026, 1, 2) AS m, last_day(DATE '2026-02-03') AS l
SELECT id, alias(id) AS a FROM logs WHERE id < 2 ORDER BY id
SELECT cast(id AS VARCHAR) || 'x' AS c, id::VARCHAR || 'y' AS d, CAST(tags AS VARCHAR) AS t FROM logs WHERE id < 5 ORDER BY id
SELECT cast({'a': 1} AS STRUCT(a BIGINT)) AS s, cast([1] AS VARCHAR[]) AS l, cast(MAP {'a': 1} AS MAP(VARCHAR, BIGINT)) AS m
SELECT 'small'::ENUM('small', 'large') AS e
SELECT list_aggregate([1, 2, 3], 'sum') AS s, list_transform([1, 2], lambda x: list_filter([1, 2, 3], lambda y: y > x)) AS n
SELECT least(id, 3) AS l, greatest(id, 3) AS g, sign(id) AS s, id % 3 = 0 AS m FROM logs WHERE id < 5 ORDER BY id
SELECT array_cosine_similarity([1.0, 2.0]::FLOAT[2], [1.0, 2.0]::FLOAT[2]) AS c
SELECT encode('a') AS e, to_base64('a'::BLOB) AS b, url_encode('a b') AS u, chr(65) AS c, unicode('A') AS n
SELECT string_split(service, 'e') AS p, split_part(service, 'e', 1) AS q, service.string_split('b')[1] AS r FROM logs WHERE id < 5 ORDER BY id
SELECT levenshtein(service, 'web') AS d, contains(service, 'e') AS c, reverse(service) AS r, lpad(service, 5, '.') AS l FROM logs WHERE id < 5 ORDER BY id
SELECT columns_.n FROM (SELECT id AS n FROM logs WHERE id < 3) AS columns_ ORDER BY 1

-- dotted paths everywhere
SELECT http.status_code AS c, count(*) FROM logs GROUP BY http.status_code HAVING http.status_code > 300 ORDER BY http.status_code
SELECT l.http.status_code, m.http.status_code FROM logs l JOIN logs m ON l.id = m.id + 1 AND l.http.status_code = m.http.status_code ORDER BY l.id LIMIT 5
SELECT q.http.status_code FROM (SELECT * FROM logs) q ORDER BY q.id LIMIT 5
SELECT id FROM logs WHERE http.status_code IN (SELECT DISTINCT http.status_code FROM logs WHERE http.status_code > 404) ORDER BY id LIMIT 5
SELECT id, row_number() OVER (PARTITION BY http.status_code ORDER BY id) AS r FROM logs QUALIFY r = 1 ORDER BY id
SELECT max(http.status_code) FILTER (WHERE http.status_code < 500) AS m FROM logs
SELECT list(http.status_code ORDER BY http.status_code, id)[1:2] AS l FROM logs
SELECT HTTP.Status_Code FROM logs WHERE ID < 3 ORDER BY id
SELECT logs.http.status_code FROM logs WHERE logs.id < 3 ORDER BY logs.id
SELECT a.b.c.d.e FROM logs WHERE a.b.c.d.e LIKE 'deep%' ORDER BY id LIMIT 3
SELECT a.id FROM logs a WHERE a.a.b.c.d.e IS NOT NULL ORDER BY a.id LIMIT 3
SELECT http.status_code::VARCHAR || '!' AS c FROM logs WHERE id < 3 ORDER BY id
SELECT -http.status_code AS c, http.status_code BETWEEN 200 AND 299 AS ok FROM logs WHERE id < 3 ORDER BY id
SELECT x: http.status_code FROM logs WHERE id < 3 ORDER BY id

-- names of columns that have none
SELECT id + 1, -id, id * 2 / 3, id // 2, id % 3, id ** 2, id ^ 2 FROM logs WHERE id < 3 ORDER BY id
SELECT upper(service), length(service), service || '!', service LIKE 'w%', service NOT LIKE 'w%', service ILIKE 'W%' FROM logs WHERE id < 3 ORDER BY id
SELECT level IS NULL, level IS NOT NULL, ok IS TRUE, ok IS NOT TRUE, NOT ok, ok AND true, ok OR false FROM logs WHERE id < 3 ORDER BY id
SELECT id = 1, id <> 1, id != 1, id < 1, id <= 1, id > 1, id >= 1, id == 1 FROM logs WHERE id < 3 ORDER BY id
SELECT id BETWEEN 1 AND 2, id NOT BETWEEN 1 AND 2, id IN (1, 2), id NOT IN (1, 2) FROM logs WHERE id < 3 ORDER BY id
SELECT id::VARCHAR, id::TEXT, CAST(id AS INTEGER), id::INT, TRY_CAST(service AS INT), id::DECIMAL(10,2), id::DOUBLE FROM logs WHERE id < 3 ORDER BY id
SELECT tags[1], tags[1:2], [id, 2], {'a': id}, {'a': id}.a, (id, service), row(id) FROM logs WHERE id < 3 ORDER BY id
SELECT count(*), count(id), count(DISTINCT service), sum(id) FILTER (WHERE ok), max(id) + 1, min(service), avg(size) FROM logs
SELECT extract(hour FROM timestamp), date_trunc('hour', timestamp), timestamp::DATE, timestamp + INTERVAL 1 HOUR FROM logs WHERE id < 3 ORDER BY id
SELECT CASE WHEN ok THEN 1 ELSE 2 END, coalesce(level, 'x'), nullif(id, 1), if(ok, 1, 2), ifnull(level, 'y') FROM logs WHERE id < 3 ORDER BY id
SELECT 1, 'a', 1.5, NULL, true, DATE '2026-01-01', INTERVAL 1 DAY
SELECT (SELECT max(id) FROM logs), EXISTS (SELECT 1 FROM traces), id IN (SELECT id FROM traces) FROM logs WHERE id < 3 ORDER BY id
SELECT list_transform(tags, lambda x: x || '!'), list_filter(tags, lambda x: x > 'a') FROM logs WHERE id < 9 ORDER BY id
SELECT [x || '!' for x in tags] FROM logs WHERE id < 9 ORDER BY id
SELECT row_number() OVER (ORDER BY id), sum(id) OVER (PARTITION BY service ORDER BY id) FROM logs ORDER BY id LIMIT 5
SELECT service ~ 'w', service !~ 'w', service SIMILAR TO 'w.*', service GLOB 'w*', service ^@ 'w' FROM logs WHERE id < 3 ORDER BY id

-- more of JSON, casts and method chains
SELECT upper(mixed -> 'k') AS u, max(mixed ->> '$.k[1]') AS m FROM logs WHERE mixed LIKE '{%' GROUP BY 1 ORDER BY 1
SELECT json_array_length(mixed -> '$.k') AS n FROM logs WHERE mixed LIKE '{%' AND id < 99 ORDER BY id
SELECT TIMESTAMP '2026-01-01 12:00:00'::DATE AS d, DATE '2026-01-01'::VARCHAR AS v, DATE '2026-01-05' - DATE '2026-01-01' AS n
SELECT range(3)::VARCHAR[] AS a, range(3)[2]::VARCHAR AS b, range(2).len()::VARCHAR AS c, date('2026-01-01')::VARCHAR AS d
SELECT service.upper() || '!' AS u FROM logs WHERE id < 3 ORDER BY id
SELECT service || level.upper() AS u FROM logs WHERE id < 3 ORDER BY id
SELECT id FROM logs WHERE a.b.c.d.e.starts_with('deep') ORDER BY id LIMIT 3
SELECT id.greatest(5).least(8)::VARCHAR.length() AS n FROM logs WHERE id < 3 ORDER BY id
SELECT tags[1].upper() AS t FROM logs WHERE id < 9 ORDER BY id
SELECT {'a': service}.a.upper() AS t FROM logs WHERE id < 9 ORDER BY id
SELECT list_transform(tags, lambda t: t.upper() || service.lower()) AS l FROM logs WHERE id < 9 ORDER BY id
SELECT [t.upper() for t in tags] AS l FROM logs WHERE id < 9 ORDER BY id
SELECT max(service.length()) FILTER (WHERE id < 5) AS m FROM logs
SELECT service, id.max() AS m FROM logs GROUP BY service ORDER BY service
SELECT service.string_agg(',') AS s FROM logs WHERE id = 4

-- names, comments, clauses
SELECT * FROM traces t ORDER BY t.id DESC LIMIT 2
SELECT DISTINCT * FROM (SELECT service FROM logs) ORDER BY ALL
SELECT ALL service FROM logs WHERE id < 3 ORDER BY id
SELECT service AS "select", id AS "group by" FROM logs WHERE id < 2 ORDER BY id
SELECT id "alias without as", service s FROM logs WHERE id < 2 ORDER BY id
SELECT logs.id, logs.service FROM logs WHERE logs.id < 2 ORDER BY logs.id
SELECT "logs"."id" FROM "logs" WHERE "id" < 2 ORDER BY "id"
SELECT ID, Service FROM LOGS WHERE iD < 2 ORDER BY id
select id from logs where id < 2 order by id;
SELECT id /* a comment with 'quotes */ FROM logs WHERE id < 2 ORDER BY id
SELECT count(*) AS n FROM logs HAVING count(*) > 0
SELECT service, count(*) FROM logs GROUP BY service HAVING count(*) > 90 AND max(id) > 0 ORDER BY 2 DESC, 1
SELECT service FROM logs GROUP BY service HAVING bool_or(ok) ORDER BY min(id)
SELECT service, level, count(*) FROM logs GROUP BY (service, level) ORDER BY ALL
SELECT service, level FROM logs GROUP BY 1, level ORDER BY 1, 2
SELECT id % 2 AS odd, count(*) FROM logs GROUP BY odd HAVING odd = 1
SELECT id + 1 AS next, next * 2 AS twice FROM logs WHERE next < 4 ORDER BY twice

-- subqueries and common table expressions
SELECT sum(x) FROM (SELECT id AS x FROM logs UNION ALL SELECT id FROM traces)
SELECT a.id FROM logs a, logs b WHERE a.id = b.id AND a.id < 3 ORDER BY a.id
SELECT * FROM (SELECT id FROM logs) a JOIN (SELECT id FROM traces) b ON a.id = b.id WHERE a.id < 6 ORDER BY ALL
SELECT * FROM (SELECT id FROM logs) a JOIN (SELECT id FROM traces) b USING (id) WHERE id < 6 ORDER BY ALL
SELECT * FROM logs WHERE id IN (SELECT max(id) FROM logs GROUP BY service) ORDER BY id
SELECT l.id, t.id FROM logs l LEFT JOIN traces t ON t.id = l.id AND t.span > 100 WHERE l.id < 4 ORDER BY 1
SELECT x.id, y.n FROM traces x JOIN (SELECT service, count(*) AS n FROM logs GROUP BY service) y ON x.service = y.service WHERE x.id < 6 ORDER BY ALL
SELECT id FROM logs WHERE level = (SELECT min(level) FROM logs) AND id < 20 ORDER BY id
SELECT id FROM logs l WHERE id = (SELECT max(id) FROM logs m WHERE m.service = l.service) ORDER BY id
SELECT id FROM logs l WHERE (SELECT count(*) FROM traces t WHERE t.service = l.service) > 20 AND id < 20 ORDER BY id
SELECT (SELECT count(*) FROM traces WHERE traces.id < logs.id) AS n FROM logs WHERE logs.id < 6 ORDER BY logs.id
SELECT service, (SELECT count(*) FROM traces t WHERE t.service = l.service) AS n FROM logs l GROUP BY service ORDER BY service
SELECT id FROM logs WHERE EXISTS (SELECT 1 FROM unnest(tags) u(t) WHERE t = 'a') AND id < 40 ORDER BY id
SELECT id, (SELECT string_agg(t, '-' ORDER BY t) FROM unnest(tags) u(t)) AS s FROM logs WHERE id < 20 ORDER BY id
SELECT id, list_aggregate(tags, 'string_agg', '-') AS s FROM logs WHERE id < 20 ORDER BY id
SELECT t.x.a AS v FROM (SELECT {'a': id} AS x FROM logs) t WHERE t.x.a < 4 ORDER BY v
SELECT x.a AS v FROM (SELECT {'a': id} AS x FROM logs) WHERE x.a < 4 ORDER BY v
SELECT x['a'] AS v FROM (SELECT {'a': id} AS x FROM logs) WHERE x['a'] < 4 ORDER BY v
WITH t AS (SELECT id, {'k': {'j': service}} AS s FROM logs) SELECT s.k.j, t.s.k.j AS again FROM t WHERE id < 4 ORDER BY id
WITH t AS (SELECT id, unnest(tags) AS tag FROM logs) SELECT tag, count(*), min(id) FROM t GROUP BY tag ORDER BY tag
WITH t AS (SELECT * FROM logs WHERE ok) SELECT count(*), count(level) FROM t
WITH t AS (FROM logs) SELECT t.id, t."http.status_code" FROM t WHERE t.id < 3 ORDER BY t.id
WITH t AS (SELECT http.status_code AS code, * FROM logs) SELECT code, count(*) FROM t GROUP BY ALL ORDER BY ALL
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 4) SELECT n, (SELECT service FROM logs WHERE id = n) AS s FROM t ORDER BY n
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT x, y FROM a, b
SELECT * FROM (WITH t AS (SELECT id FROM logs WHERE id < 3) SELECT * FROM t) ORDER BY id

-- values and table functions
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v(n, s) JOIN logs ON logs.id = v.n ORDER BY n
SELECT n FROM (VALUES (1), (2), (3)) v(n) WHERE n IN (SELECT id FROM logs) ORDER BY n
SELECT * FROM (VALUES (1, 'a')) ORDER BY ALL
FROM (VALUES (3), (1), (2)) v(n) ORDER BY n DESC
SELECT v.* FROM (VALUES (1, 2)) v(a, b)
FROM range(3)
FROM generate_series(1, 10, 4)
SELECT * FROM range(DATE '2026-01-01', DATE '2026-01-04', INTERVAL 1 DAY)
SELECT r.range FROM range(3) r ORDER BY 1
SELECT * FROM repeat('a', 3)
SELECT * FROM unnest([1, 2, 3])
SELECT unnest(tags), id FROM logs WHERE id < 9 ORDER BY ALL
SELECT unnest(tags, max_depth := 1) AS t FROM logs WHERE id < 9 ORDER BY ALL
SELECT unnest([[1, 2], [3]], recursive := true) AS n
SELECT id, generate_subscripts(tags, 1) AS i, unnest(tags) AS t FROM logs WHERE id < 9 ORDER BY ALL
SELECT l.id, j.key FROM logs l, json_tree(l.mixed) j WHERE l.mixed LIKE '{%' AND l.id < 60 ORDER BY ALL

-- limits and orders
SELECT id FROM logs ORDER BY id LIMIT 3 OFFSET 2
SELECT id FROM logs ORDER BY id OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY
SELECT id FROM logs ORDER BY id LIMIT ALL OFFSET 397
SELECT id FROM logs ORDER BY id LIMIT NULL OFFSET 397
SELECT id FROM logs ORDER BY id LIMIT 1 + 1
SELECT id FROM logs ORDER BY ALL DESC NULLS LAST LIMIT 3
SELECT id, service FROM logs ORDER BY service DESC, 1 ASC LIMIT 3
SELECT id AS x FROM logs ORDER BY x + 0 DESC LIMIT 3
SELECT id FROM logs ORDER BY size + id DESC, id LIMIT 3
SELECT service, id FROM logs ORDER BY service COLLATE NOCASE DESC, id LIMIT 3

-- more windows and aggregates
SELECT min(service) OVER (PARTITION BY http.status_code) AS m, id FROM logs ORDER BY id LIMIT 5
SELECT id, sum(size) OVER w AS s FROM logs WINDOW w AS (PARTITION BY service, level ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) ORDER BY id LIMIT 5
SELECT id, first_value(id) OVER w, last_value(id) OVER w, nth_value(id, 2) OVER w FROM logs WINDOW w AS (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) ORDER BY id LIMIT 5
SELECT id, max(id) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS m FROM logs ORDER BY id LIMIT 5
SELECT id, string_agg(service, ',') OVER (ORDER BY id ROWS 1 PRECEDING) AS s FROM logs ORDER BY id LIMIT 5
SELECT service, count(*) * 100.0 / sum(count(*)) OVER () AS share FROM logs GROUP BY service ORDER BY service
SELECT DISTINCT service, max(id) OVER (PARTITION BY service) AS m FROM logs ORDER BY service
SELECT quantile_cont(size, [0.25, 0.5, 0.75]) AS q, median(id), mode(service) IS NOT NULL FROM logs
SELECT mad(id), entropy(service), approx_quantile(id, 0.5) IS NOT NULL FROM logs
SELECT list(DISTINCT service ORDER BY service), array_agg(id ORDER BY id DESC)[1] FROM logs
SELECT first(id ORDER BY id DESC), last(id ORDER BY id), any_value(1) FROM logs
SELECT arg_max(id, timestamp), arg_max(id, timestamp, 2) FROM logs
SELECT sum(DISTINCT id % 7), count(DISTINCT id % 7), avg(DISTINCT id % 7) FROM logs
SELECT string_agg(service, ',' ORDER BY id) FILTER (WHERE id < 5) FROM logs
SELECT group_concat(service ORDER BY id) FROM logs WHERE id < 5
SELECT count_star() FROM logs
SELECT product(id + 1) FROM logs WHERE id < 6
SELECT histogram(service), histogram_exact(http.status_code, [200, 404]) FROM logs
SELECT max(id, 3), min(id, 3), arg_min(service, id, 2) FROM logs
SELECT max({'a': id, 'b': service}) FROM logs
SELECT covar_samp(id, size), regr_r2(id, size), corr(size, id) FROM logs
SELECT bit_and(id), bit_or(id), bit_xor(id), bool_and(ok), bool_or(ok) FROM logs
SELECT count(*) FILTER (id < 5), count(*) FILTER (WHERE id < 5) FROM logs
SELECT avg(id) FILTER (WHERE service = 'web') - avg(id) FILTER (WHERE service = 'db') AS d FROM logs
SELECT sum(CASE WHEN level = 'error' THEN 1 ELSE 0 END) * 1.0 / count(*) AS rate FROM logs

-- more stars
SELECT COLUMNS('^(id|span)$') + 1 FROM traces ORDER BY ALL LIMIT 2
SELECT MIN(COLUMNS('id|span')), MAX(COLUMNS('id|span')) FROM traces
SELECT COLUMNS(* REPLACE (id + 1 AS id)) FROM traces ORDER BY ALL LIMIT 2
SELECT coalesce(COLUMNS(['level', 'service'])) FROM logs WHERE id < 3 ORDER BY ALL
SELECT COLUMNS('http.*') FROM logs WHERE id < 3 ORDER BY id
SELECT COLUMNS(lambda c: c LIKE 'http%') FROM logs WHERE id < 3 ORDER BY id
SELECT COLUMNS('http.(.*)') AS '\1' FROM logs WHERE id < 3 ORDER BY id
SELECT * LIKE 'http%' FROM logs WHERE id < 3 ORDER BY id
SELECT * EXCLUDE ("http.status_code", timestamp) FROM logs WHERE id < 3 ORDER BY id
SELECT * EXCLUDE (http.status_code, l.tags) FROM logs l WHERE id < 3 ORDER BY id
SELECT * REPLACE (http.status_code + 1 AS "http.status_code") FROM logs WHERE id < 3 ORDER BY id
SELECT * RENAME ("http.status_code" AS code) FROM logs WHERE id < 3 ORDER BY id
SELECT l.*, t.* FROM logs l JOIN traces t USING (id) WHERE l.id < 6 ORDER BY l.id
SELECT COLUMNS(l.*) FROM logs l WHERE id < 3 ORDER BY ALL
SELECT l.id, COLUMNS(t.*) FROM logs l JOIN traces t ON l.id = t.id WHERE l.id < 3 ORDER BY ALL
SELECT sum(COLUMNS(t.* EXCLUDE (service, timestamp))) FROM traces t

-- more joins
SELECT * FROM logs NATURAL JOIN traces ORDER BY ALL LIMIT 3
SELECT * FROM traces a LEFT JOIN traces b USING (id, service) ORDER BY ALL LIMIT 3
SELECT id, a.span, b.span FROM traces a FULL JOIN traces b USING (id) ORDER BY id LIMIT 3
SELECT * FROM traces a POSITIONAL JOIN (SELECT id AS other FROM traces) b ORDER BY a.id LIMIT 0
SELECT count(*) FROM logs, traces, (SELECT 1 AS one)
SELECT a.id FROM logs a JOIN traces b ON a.id = b.id JOIN traces c ON b.id = c.id AND c.span < 4 ORDER BY 1
SELECT a.id FROM (logs a JOIN traces b USING (id)) WHERE b.span < 3 ORDER BY 1
SELECT id FROM logs ASOF JOIN (SELECT id AS i2, span FROM traces) t ON id >= i2 WHERE id < 4 ORDER BY 1
SELECT l.id, t.id FROM logs l ASOF RIGHT JOIN traces t ON l.id >= t.id WHERE t.id < 6 ORDER BY ALL

-- expressions without a stream
SELECT SUBSTRING('abc' FROM 2), SUBSTRING('abc' FROM 2 FOR 1), SUBSTR('abc', 2), 'abc'[2:3]
SELECT POSITION('b' IN 'abc'), INSTR('abc', 'b'), STRPOS('abc', 'b')
SELECT EXTRACT(year FROM DATE '2026-02-03'), EXTRACT('month' FROM DATE '2026-02-03'), DATE_PART('day', DATE '2026-02-03'), EXTRACT(epoch FROM INTERVAL 1 MINUTE)
SELECT CAST('1 day' AS INTERVAL), INTERVAL '1' DAY + INTERVAL '2' HOUR, INTERVAL '1 day 2 hours', INTERVAL (2) DAY, INTERVAL '3' MONTHS
SELECT DATE '2026-01-01' + INTERVAL '1 day', DATE '2026-01-01' - 1, TIMESTAMP '2026-01-01' - INTERVAL 1 HOUR, TIME '12:00' + INTERVAL 1 HOUR
SELECT '2026-01-01'::TIMESTAMPTZ AT TIME ZONE 'UTC', TIMESTAMPTZ '2026-01-01 00:00+02', TIMESTAMP WITH TIME ZONE '2026-01-01', TIMESTAMP_NS '2026-01-01'
SELECT 1::BIGINT, 1::HUGEINT, 1::UINTEGER, 1::TINYINT, 1::INT8, 1::INT4, 1::LONG, 1::NUMERIC(5, 1), 1::FLOAT4, 1::REAL, 'a'::CHAR, 'a'::STRING, 'a'::BPCHAR, true::BOOL, 1::LOGICAL
SELECT 'a'::VARCHAR(10), '1'::BIT, 'a'::BLOB, 'a'::BYTEA, NULL::UUID, NULL::JSON, NULL::DATETIME, NULL::TIMETZ, NULL::INT[], NULL::STRUCT(a INT, b TEXT), NULL::MAP(INT, TEXT), NULL::UNION(a INT, b TEXT)
SELECT TRY_CAST('x' AS DATE), TRY_CAST('1' AS DECIMAL(4, 1)), CAST(1 AS VARCHAR), CAST(NULL AS INTEGER[])
SELECT 'a' || NULL, concat('a', NULL), concat_ws(',', 'a', 'b'), 'abc' LIKE 'a%', 'abc' LIKE '%\%' ESCAPE '\', 'a' COLLATE NOCASE = 'A'
SELECT 5 & 3, 5 | 3, xor(5, 3), ~5, 1 << 3, 8 >> 1, 2 ** 10, 2 ^ 10, 7 / 2, 7 // 2, -7 % 3, abs(-1), @(-1), 5!
SELECT 1 IS DISTINCT FROM NULL, NULL IS NOT DISTINCT FROM NULL, 1 IN (1, NULL), NOT (1 = 2), 1 BETWEEN 0 AND 2
SELECT GREATEST(1, 2), LEAST(1, 2), COALESCE(NULL, 1), NULLIF(1, 1), IFNULL(NULL, 2), CASE 1 WHEN 1 THEN 'a' END
SELECT ROUND(1.256, 2), FLOOR(1.5), CEIL(1.5), TRUNC(1.5), SIGN(-1), PI(), LN(1), LOG(10), LOG10(10), EXP(0), SQRT(4), CBRT(8), POWER(2, 3), MOD(7, 3), GCD(4, 6), LCM(4, 6)
SELECT MAP {'a': 1, 'b': 2}['a'], MAP {'a': 1}.map_keys(), map_entries(MAP {'a': 1}), cardinality(MAP {'a': 1}), element_at(MAP {'a': 1}, 'a')
SELECT struct_pack(a := 1, b := 'x'), {'a': 1, 'b': {'c': 2}}, struct_extract({'a': 1}, 'a'), struct_insert({'a': 1}, b := 2), row(1, 2), (1, 'a')
SELECT [1, 2, 3][2], [1, 2, 3][-1], [1, 2, 3][1:2], [1, 2, 3][:], [[1], [2]][1], list_slice([1, 2, 3], 1, 2), array_slice([1, 2, 3], 1, NULL)
SELECT list_value(1, 2), list_concat([1], [2]), [1] || [2], list_append([1], 2), list_prepend(0, [1]), list_contains([1], 1), list_position([1, 2], 2), list_has_any([1], [1]), list_unique([1, 1]), list_reverse([1, 2])
SELECT list_apply([1, 2], lambda x: x + 1), list_filter([1, 2, 3], lambda x, i: i > 1), list_reduce([1, 2, 3], lambda a, b: a + b), array_transform([1], lambda x: {'v': x}), apply([1], lambda x: x), filter([1, 2], lambda x: x > 1), reduce([1, 2], lambda a, b: a * b, 10)
SELECT [x + 1 for x in [1, 2, 3] if x > 1], [{'a': x} for x in [1]], [upper(s) for s in ['a']]
SELECT union_value(k := 1)::UNION(k INT, t TEXT), union_tag(union_value(k := 1)), union_extract(union_value(k := 1), 'k')
SELECT '{"a":[1,2]}'::JSON -> '$.a[0]', json_extract('{"a":1}', 'a'), '{"a":1}' ->> 'a', '{"a":{"b":2}}' -> 'a' ->> 'b', json_type('{"a":1}', '$.a'), json_valid('{'), to_json([1, 2]), json_array(1, 'a'), json_object('k', 1), json_merge_patch('{"a":1}', '{"b":2}'), json_keys('{"a":1}')
SELECT ('{"a": 1}' ->> 'a')::INT + 1, ('{"a": "x"}' ->> 'a') || 'y', ('{"a": "x"}' ->> 'a') = 'x', ('{"a": "x"}' -> 'a') IS NULL
SELECT json_transform('{"a": 1}', '{"a": "INTEGER"}').a, json_structure('{"a": 1}'), json_contains('{"a": 1}', '1'), json_exists('{"a": 1}', '$.a')
SELECT regexp_matches('abc', 'b'), regexp_full_match('abc', 'b'), regexp_extract('abc', '(b)', 1), regexp_extract_all('a1b2', '\d'), regexp_replace('aa', 'a', 'b'), regexp_split_to_array('a,b', ','), 'abc' ~ 'b'
SELECT strftime(DATE '2026-01-02', '%d/%m/%Y'), strptime('02/01/2026', '%d/%m/%Y'), date_format IS NULL FROM (SELECT 1 AS date_format)
SELECT format('{:,}', 1000000), format('{:.2f}', 1.5), printf('%05d', 7), bar(5, 0, 10, 10), format_bytes(1024)
SELECT left('abc', 2), right('abc', 2), lpad('a', 3, '.'), rpad('a', 3, '.'), repeat('ab', 2), replace('abc', 'b', 'x'), reverse('abc'), translate('abc', 'a', 'z'), initcap IS NULL FROM (SELECT 1 AS initcap)
SELECT md5('a'), sha256('a'), hash(1), base64('a'::BLOB), hex('a'), bin(5), chr(97), ascii('a'), unicode('a'), strip_accents('é'), to_hex(255), ord('a')
SELECT date_add(DATE '2026-01-01', INTERVAL 1 DAY), date_diff('month', DATE '2026-01-01', DATE '2026-03-01'), date_sub('month', DATE '2026-01-31', DATE '2026-03-01'), datediff('day', DATE '2026-01-01', DATE '2026-01-03'), dayname(DATE '2026-01-01'), last_day(DATE '2026-02-01'), make_date(2026, 1, 1), make_timestamp(2026, 1, 1, 0, 0, 0.0), epoch(TIMESTAMP '1970-01-02'), to_timestamp(0), century(DATE '2026-01-01'), isodow(DATE '2026-01-01'), yearweek(DATE '2026-01-01'), to_days(1), to_hours(2)
SELECT generate_series(DATE '2026-01-01', DATE '2026-01-03', INTERVAL 1 DAY), range(1, 10, 3), range(3), generate_series(3)
SELECT random() BETWEEN 0 AND 1 AS r, uuid() IS NOT NULL AS u, gen_random_uuid() IS NOT NULL AS g, now() IS NOT NULL AS n, today() IS NOT NULL AS t, current_time IS NOT NULL AS c, localtimestamp IS NOT NULL AS l, get_current_time() IS NOT NULL AS k
SELECT typeof(1), typeof([1]), typeof({'a': 1}), typeof(NULL), pg_typeof(1), can_cast_implicitly(1, 2), constant_or_null(1, 2), error('x') IS NULL AS e WHERE false
SELECT 'it''s', 'line' || chr(10) || 'two', E'tab\there', $$a 'quoted' $b$ text$$, '', 'ünïcödé', '日本語'

-- quoting
SELECT "a b" FROM (SELECT 1 AS "a b"), (SELECT 2 AS "c""d")
SELECT t."id" FROM traces AS "t" WHERE "t".id < 3 ORDER BY ALL

-- more predicates
SELECT id FROM logs WHERE service = 'web' AND level = 'error' OR id = 3 AND NOT ok ORDER BY id
SELECT id FROM logs WHERE (service, id) = ('web', 4) OR (id, level) IN (SELECT id, level FROM logs WHERE id < 5) ORDER BY id
SELECT id FROM logs WHERE id IN (SELECT unnest([1, 2, 3])) ORDER BY id
SELECT id FROM logs WHERE id NOT IN (SELECT id FROM logs WHERE id > 3) ORDER BY id
SELECT id FROM logs WHERE service = ANY (['web', 'db']) AND id < 9 ORDER BY id
SELECT id FROM logs WHERE id > ALL (SELECT id FROM traces) AND id < 125 ORDER BY id
SELECT id FROM logs WHERE level IN ('error') IS TRUE AND id < 20 ORDER BY id
SELECT id FROM logs WHERE timestamp::DATE = DATE '2026-01-01' AND id < 3 ORDER BY id
SELECT id FROM logs WHERE timestamp BETWEEN TIMESTAMPTZ '2026-01-01 00:00:10+00' AND TIMESTAMPTZ '2026-01-01 00:00:30+00' ORDER BY id
SELECT id FROM logs WHERE timestamp >= '2026-01-01 00:45:00' AND timestamp < '2026-01-01 00:46:00' ORDER BY id
SELECT id FROM logs WHERE date_part('minute', timestamp) = 3 ORDER BY id
SELECT id FROM logs WHERE timestamp > (SELECT max(timestamp) FROM logs) - INTERVAL 30 SECOND ORDER BY id
SELECT id FROM logs WHERE list_has_any(tags, ['a', 'b']) AND len(tags) > 1 AND id < 50 ORDER BY id
SELECT id FROM logs WHERE tags @> ['a'] AND id < 50 ORDER BY id
SELECT id FROM logs WHERE tags && ['a'] AND id < 50 ORDER BY id
SELECT id FROM logs WHERE ['a'] <@ tags AND id < 50 ORDER BY id
SELECT id FROM logs WHERE tags[1] = 'a' AND tags[2] IS NOT NULL ORDER BY id LIMIT 5
SELECT id, tags IS NULL, tags = [], len(tags) FROM logs WHERE id < 9 ORDER BY id
SELECT id, ok::INT, ok::VARCHAR, NOT ok AS n FROM logs WHERE id < 9 ORDER BY id
SELECT big, big::VARCHAR, amount, amount::VARCHAR FROM logs WHERE big IS NOT NULL AND amount IS NOT NULL ORDER BY id LIMIT 4
SELECT seen - timestamp AS d, seen::DATE, extract(second FROM seen) FROM logs WHERE seen IS NOT NULL ORDER BY id LIMIT 4

-- more set operations
SELECT t.service, t.id FROM traces t UNION SELECT l.service, l.id FROM logs l WHERE l.id < 3 ORDER BY 2, 1 LIMIT 5
SELECT id FROM logs EXCEPT SELECT id FROM logs WHERE id > 3 ORDER BY 1
SELECT id FROM (SELECT id FROM logs ORDER BY id DESC LIMIT 3) ORDER BY id
SELECT id, 'logs' AS src FROM logs WHERE id < 2 UNION ALL SELECT id, 'traces' FROM traces WHERE id < 3 ORDER BY ALL
(SELECT id FROM logs WHERE id < 3) EXCEPT (SELECT id FROM traces) ORDER BY id
(SELECT 1 AS a UNION SELECT 2) INTERSECT SELECT 2
SELECT 1 AS a UNION ALL (SELECT 2 UNION ALL SELECT 3) ORDER BY a
WITH t AS (SELECT 1 AS a) (SELECT a FROM t)
WITH t AS (SELECT 1 AS a) SELECT a FROM t UNION ALL SELECT a + 1 FROM t ORDER BY a

-- more PIVOT, UNPIVOT, DESCRIBE, SUMMARIZE
PIVOT logs ON service IN ('web', 'db') USING count(*) AS n, avg(id) AS a GROUP BY level ORDER BY level
PIVOT logs ON service USING first(id ORDER BY id) GROUP BY http.status_code ORDER BY ALL
PIVOT logs ON service USING count(*) FILTER (WHERE ok) GROUP BY level ORDER BY level
PIVOT (FROM logs WHERE id < 100) ON service USING count(*) GROUP BY level ORDER BY level
PIVOT (SELECT l.level, t.span % 3 AS m FROM logs l JOIN traces t USING (id)) ON m USING count(*) GROUP BY level ORDER BY level
PIVOT logs ON date_trunc('hour', timestamp) USING count(*) GROUP BY service ORDER BY service
PIVOT logs ON service USING sum(id) // 10 AS s GROUP BY level ORDER BY level
PIVOT logs ON service USING count(*) GROUP BY level ORDER BY level DESC LIMIT 2 OFFSET 1
PIVOT logs ON level USING count(*) GROUP BY service UNION ALL BY NAME SELECT 'sum' AS service ORDER BY service
SELECT count(*) FROM (PIVOT logs ON level USING count(*) GROUP BY service, http.status_code)
SELECT COLUMNS(* EXCLUDE (service))::INT FROM (PIVOT logs ON level USING count(*) GROUP BY service) ORDER BY ALL
SELECT l.id, p.info FROM logs l JOIN (PIVOT logs ON level USING count(*) GROUP BY service) p ON l.service = p.service WHERE l.id < 5 ORDER BY l.id
FROM (PIVOT traces ON service USING max(span) GROUP BY id) SELECT avg(web), avg(db)
FROM logs PIVOT (count(*) FOR service IN ('web', 'db') GROUP BY level) ORDER BY level
WITH t AS (SELECT service, level, id FROM logs) SELECT * FROM t PIVOT (sum(id) FOR level IN ('info', 'warn')) ORDER BY service
WITH t AS (SELECT service, level, id FROM logs) FROM t PIVOT (sum(id) FOR level IN ('info', 'warn') GROUP BY service) AS p(s, i, w) ORDER BY s
SELECT * FROM (FROM logs) PIVOT (count(*) FOR http.status_code IN (200, 500) GROUP BY service) ORDER BY service
SELECT * FROM logs PIVOT (avg(id) FOR (service, level) IN (('web', 'info'), ('db', 'warn')) GROUP BY ok) ORDER BY ok
UNPIVOT (SELECT id, size::VARCHAR AS size, level FROM logs WHERE id < 20) ON size, level INTO NAME k VALUE v ORDER BY ALL
UNPIVOT traces ON id, span ORDER BY ALL LIMIT 5
UNPIVOT traces ON (id + 1) AS plus, span INTO NAME k VALUE v ORDER BY ALL LIMIT 5
UNPIVOT logs ON "http.status_code", id INTO NAME k VALUE v ORDER BY ALL LIMIT 5
SELECT * FROM traces AS t UNPIVOT (v FOR k IN (id AS first, span AS second)) ORDER BY ALL LIMIT 5
SELECT k, v FROM logs UNPIVOT (v FOR k IN (http.status_code, id)) ORDER BY ALL LIMIT 5
SELECT u.k FROM traces UNPIVOT (v FOR k IN (id, span)) AS u ORDER BY ALL LIMIT 5
SELECT * FROM (SELECT 1 AS a, 2 AS b, 3 AS c) UNPIVOT ((x, y) FOR k IN ((a, b), (b, c)))
SUMMARIZE SELECT http.status_code FROM logs
SUMMARIZE FROM traces
DESCRIBE SELECT http.status_code, tags, {'a': id} AS s, timestamp, big FROM logs
DESCRIBE SELECT * EXCLUDE (id) FROM traces
DESCRIBE SELECT l.id, t.* FROM logs l JOIN traces t USING (id)
DESCRIBE VALUES (1, 'a')
DESCRIBE (SELECT 1 AS a)
DESCRIBE SELECT a.b.c.d.e FROM logs
DESCRIBE PIVOT traces ON service USING sum(span) GROUP BY id
SELECT * FROM (DESCRIBE SELECT id FROM logs) WHERE column_type = 'BIGINT'

-- more aliases, and rows as structs
SELECT l.id, l.service FROM logs AS l(a, b) WHERE false
SELECT a, c FROM traces t(a, b, c, d) WHERE d < 5 ORDER BY ALL
SELECT max(x.a), count(*) FROM (logs) AS x(a)
SELECT t.a, t.b FROM (SELECT id, service FROM logs) t(a, b) WHERE a < 3 ORDER BY a
SELECT t.a, t.service FROM (SELECT id, service FROM logs) t(a) WHERE a < 3 ORDER BY a
WITH t(a) AS (SELECT id, service FROM logs) SELECT a, service FROM t WHERE a < 3 ORDER BY a
SELECT l.t, r.u FROM traces l(t, i) JOIN traces r(u, i) ON l.i = r.i WHERE l.i < 4 ORDER BY ALL
SELECT t FROM logs l JOIN traces t USING (id) WHERE l.id < 3 ORDER BY l.id
SELECT l, t.span FROM traces l JOIN traces t USING (id) WHERE l.id < 3 ORDER BY l.id
SELECT list(t ORDER BY id)[1].service AS s FROM traces t
SELECT service, max(t) AS m FROM traces t GROUP BY service ORDER BY service
SELECT count(DISTINCT t) FROM traces t
SELECT t.service FROM traces t WHERE t IS NOT NULL AND id < 3 ORDER BY id
SELECT to_json(t) FROM (SELECT id FROM traces) t ORDER BY ALL LIMIT 2
SELECT t.* FROM (SELECT traces FROM traces) t ORDER BY ALL LIMIT 2
SELECT unnest(t) FROM (SELECT {'a': id} AS t FROM traces) ORDER BY ALL LIMIT 2
SELECT t['span'] AS s FROM traces t ORDER BY s LIMIT 2

-- positions and prefix aliases
SELECT #1 FROM traces ORDER BY ALL LIMIT 2
SELECT id FROM traces ORDER BY #1 LIMIT 2
SELECT id.a FROM (SELECT {'a': 1} AS id)
SELECT first_name: service, n: count(*) FROM logs GROUP BY ALL ORDER BY ALL
SELECT j: 42, k: j + 1
FROM l: logs SELECT l.id WHERE l.id < 3 ORDER BY 1
SELECT x FROM x: (SELECT 1 AS y)

-- more samples
SELECT id FROM logs TABLESAMPLE 100 PERCENT (bernoulli) ORDER BY id LIMIT 3
SELECT count(*) FROM logs TABLESAMPLE system(100%)
SELECT count(*) FROM logs l TABLESAMPLE 100%
SELECT count(*) FROM (FROM logs LIMIT 10) USING SAMPLE 100 PERCENT (bernoulli, 42)
SELECT count(*) FROM logs USING SAMPLE 5
SELECT count(*) FROM logs TABLESAMPLE reservoir(5), traces

-- the rest
SELECT id FROM logs WHERE id < 3 GROUP BY ALL ORDER BY ALL
SELECT service, sum(id) FROM logs GROUP BY ALL HAVING sum(id) > 19000 ORDER BY ALL
SELECT a.service, b.service FROM (SELECT DISTINCT service FROM logs) a CROSS JOIN (SELECT DISTINCT service FROM traces) b ORDER BY ALL
SELECT id FROM logs WHERE (id % 2) = 0 AND (id // 10) = 3 ORDER BY id
SELECT id AS "http.status_code" FROM logs WHERE id < 3 ORDER BY id
SELECT max(http.status_code) - min(http.status_code), http.status_code IS NULL FROM logs GROUP BY 2
SELECT h.status_code FROM (SELECT {'status_code': http.status_code} AS h, id FROM logs) ORDER BY id LIMIT 2
SELECT http FROM (SELECT http.status_code AS http, id FROM logs) ORDER BY id LIMIT 2
SELECT list_sort(list(DISTINCT service)), array_to_string(list(service ORDER BY id)[:2], '+') FROM logs
SELECT id <-> id FROM (SELECT [1.0, 2.0]::FLOAT[2] AS id), (SELECT 1)
SELECT [1.0, 2.0]::FLOAT[2] <=> [1.0, 2.0]::FLOAT[2] AS c
SELECT id IS NULL = false AS a, id + 1 IS NOT NULL AS b, id < 3 IS TRUE AS c FROM logs WHERE id < 2 ORDER BY id
SELECT NOT id = 1 AS a, NOT id IN (1) AS b, NOT id IS NULL AS c, - id + 1 AS d FROM logs WHERE id < 3 ORDER BY id
SELECT 'a' || 1 + 2 IS NULL AS a, 'a' || 'b' LIKE 'ab' AS b, 1 + 2 || 'x' AS c, 1 < 2 AND 2 < 3 OR false AS d
