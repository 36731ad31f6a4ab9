"""Owns the questions of the query benchmark about real data sets. Form and meaning as in benchmarks.query_suite."""

from __future__ import annotations

from typing import Final

from benchmarks.query_suite import Query

SPLUNK: Final = (
    Query(
        "splunk: top 10 images",
        "SELECT {Image} AS i, count(*) AS c FROM splunk WHERE {Image} IS NOT NULL GROUP BY 1 "
        "ORDER BY c DESC, i LIMIT 10",
        "SELECT {Image} AS i, count() AS c FROM splunk WHERE {Image} IS NOT NULL GROUP BY 1 "
        "ORDER BY c DESC, i LIMIT 10",
        stream="splunk",
    ),
    Query(
        "splunk: events by id and channel",
        "SELECT {EventID} AS e, {Channel} AS k, count(*) AS c, min({Keywords}) AS m FROM splunk GROUP BY 1, 2",
        "SELECT {EventID Int64} AS e, {Channel} AS k, count() AS c, min({Keywords Int64}) AS m FROM splunk "
        "GROUP BY 1, 2",
        stream="splunk",
    ),
    Query(
        "splunk: substring of long messages",
        "SELECT {Category} AS k, count(*) AS c FROM splunk WHERE {Message} LIKE '%lsass.exe%' GROUP BY 1",
        "SELECT {Category} AS k, count() AS c FROM splunk WHERE {Message} LIKE '%lsass.exe%' GROUP BY 1",
        stream="splunk",
    ),
)

CLOUDTRAIL: Final = (
    Query(
        "cloudtrail: calls by source and error",
        "SELECT {eventSource} AS s, {errorCode} AS e, count(*) AS c FROM cloudtrail GROUP BY 1, 2",
        "SELECT {eventSource} AS s, {errorCode} AS e, count() AS c FROM cloudtrail GROUP BY 1, 2",
        stream="cloudtrail",
    ),
    Query(
        "cloudtrail: issuers, five levels deep",
        "SELECT {userIdentity.sessionContext.sessionIssuer.userName} AS u, count(*) AS c, "
        "count(DISTINCT {eventName}) AS n FROM cloudtrail GROUP BY 1",
        "SELECT {userIdentity.sessionContext.sessionIssuer.userName} AS u, count() AS c, "
        "uniqExact({eventName}) AS n FROM cloudtrail GROUP BY 1",
        stream="cloudtrail",
    ),
    Query(
        "cloudtrail: a number that is also text",
        "SELECT {eventName} AS e, max({requestParameters.maxResults} + 0) AS m FROM cloudtrail GROUP BY 1 HAVING m > 0",
        "SELECT {eventName} AS e, max(coalesce(toFloat64({requestParameters.maxResults Int64}), "
        "toFloat64OrNull({requestParameters.maxResults}))) AS m FROM cloudtrail GROUP BY 1 HAVING m > 0",
        duckdb='SELECT "eventName" AS e, max(coalesce("requestParameters.maxResults", '
        'TRY_CAST("requestParameters.maxResults::str" AS DOUBLE))) AS m FROM cloudtrail GROUP BY 1 HAVING m > 0',
        stream="cloudtrail",
    ),
)

GITHUB: Final = (
    Query(
        "github: events by type",
        "SELECT {type} AS t, count(*) AS c, count(DISTINCT {repo.name}) AS r FROM github GROUP BY 1",
        "SELECT {type} AS t, count() AS c, uniqExact({repo.name}) AS r FROM github GROUP BY 1",
        stream="github",
    ),
    Query(
        "github: pull requests by state",
        "SELECT {payload.pull_request.state} AS s, {payload.action} AS k, count(*) AS c, "
        "max({payload.pull_request.number}) AS n FROM github WHERE {type} = 'PullRequestEvent' GROUP BY 1, 2",
        "SELECT {payload.pull_request.state} AS s, {payload.action} AS k, count() AS c, "
        "max({payload.pull_request.number Int64}) AS n FROM github WHERE {type} = 'PullRequestEvent' GROUP BY 1, 2",
        stream="github",
    ),
)

WIKITICKER: Final = (
    Query(
        "wikiticker: top 10 pages",
        "SELECT {page} AS p, count(*) AS c, sum({added}) AS a FROM wikiticker GROUP BY 1 ORDER BY c DESC, p LIMIT 10",
        "SELECT {page} AS p, count() AS c, sum({added Int64}) AS a FROM wikiticker GROUP BY 1 "
        "ORDER BY c DESC, p LIMIT 10",
        stream="wikiticker",
    ),
    Query(
        "wikiticker: edits of people per hour",
        "SELECT time_bucket(INTERVAL '1 hour', timestamp) AS t, {channel} AS k, count(*) AS c FROM wikiticker "
        "WHERE NOT {isRobot} GROUP BY 1, 2",
        "SELECT toStartOfInterval(timestamp, INTERVAL 1 HOUR) AS t, {channel} AS k, count() AS c FROM wikiticker "
        "WHERE NOT {isRobot Bool} GROUP BY 1, 2",
        stream="wikiticker",
    ),
    Query(
        "wikiticker: latest 100 with a comment",
        "SELECT timestamp, {user} AS u, {comment} AS m FROM wikiticker WHERE {comment} LIKE '%revert%' "
        "ORDER BY timestamp DESC LIMIT 100",
        "SELECT timestamp, {user} AS u, {comment} AS m FROM wikiticker WHERE {comment} LIKE '%revert%' "
        "ORDER BY timestamp DESC LIMIT 100",
        stream="wikiticker",
    ),
)

REAL: Final = (*SPLUNK, *CLOUDTRAIL, *GITHUB, *WIKITICKER)
