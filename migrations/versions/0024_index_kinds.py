"""The HNSW index of a version is of half floats or of bits, whose candidates are ranked again by their vectors.

Revision: 0024

Bits are the signs of a vector's numbers, compared by how many differ. They say less than the vector, so more candidates
are taken than are wanted (docs/adr/0027-an-index-of-bits.md); the distances of an answer are those of the vectors.
"""

import re
from importlib import import_module
from pathlib import Path

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
oldest_code = "0005"

COLUMNS = """
ALTER TABLE model_version ADD COLUMN hnsw_kind text NOT NULL DEFAULT 'halfvec'
    CHECK (hnsw_kind IN ('halfvec', 'bits'));
ALTER TABLE reindex ADD COLUMN hnsw_kind text;
"""
NUMBERS = """
-- How many candidates an index is worth being asked for, at most: with more, a scan is cheaper.
CREATE FUNCTION most_candidates(images bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT greatest(2000, images / 50)';

-- How many vectors an index is followed past for candidates, at most. Of bits, up to a twentieth of the gallery where
-- many are wanted, since what passes a filter costs more to scan.
CREATE FUNCTION most_scanned(images bigint, candidates integer, kind text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT greatest(most_candidates(images), CASE kind WHEN 'bits' THEN least(10 * candidates, images / 20) END)
$$;

DROP FUNCTION ef_search_for;
-- The ef_search for k. With a filter or within a collection matches come from farther away, where a narrow search
-- misses more: it is wider there. 1000 is pgvector's limit.
CREATE FUNCTION ef_search_for(k integer, restricted boolean, kind text DEFAULT 'halfvec') RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT least(1000, CASE kind
    WHEN 'bits' THEN greatest(CASE WHEN restricted THEN 200 ELSE 100 END, 10 * k)
    ELSE greatest(CASE WHEN restricted THEN 300 ELSE 64 END, 2 * k) END)
$$;

-- How many an index is asked for, of which the k nearest are kept. Of half floats: some more, as it gives those at one
-- distance in any order. Of bits: all that are kept in sight, ten times as many as are wanted and a hundred at least,
-- as bits misplace neighbors. passed: how many are before the place behind which the k are, and nearer than they.
CREATE FUNCTION candidates_for(k integer, passed integer, ef integer, kind text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE kind WHEN 'bits' THEN greatest(ef, 100, 10 * (passed + k)) ELSE k + 16 END $$;
REVOKE EXECUTE ON FUNCTION candidates_for, most_candidates, most_scanned, ef_search_for FROM PUBLIC;
"""
STATEMENT = """
DROP FUNCTION nearest_statement;
-- The statement for the k ($2) nearest to a vector ($1) without some images ($3), of those behind a place ("distance,
-- id" as SQL) if there is one. Through an index of that kind, with ef_search $5, it asks for $6 candidates, and has no
-- rows where too few come, unless fewer will do ($4): of half floats fewer than k, of bits fewer than three fifths of
-- the candidates. An exact one (kind: NULL) says whether the index did so ($4).
-- Only a literal version prunes to its partition, and only a literal width is the expression of its index. Of images at
-- one distance the index gives any: among the candidates are those with the least ids, but for larger sets.
-- greatest: rounding may take a distance below zero; it keeps the index out of an exact scan, too, and has the rough
-- order of the index sorted, which the planner takes for sorted already.
CREATE FUNCTION nearest_statement(
    version uuid, dim integer, within uuid, condition text, kind text, behind text DEFAULT NULL
) RETURNS text LANGUAGE sql STABLE AS $$
SELECT format(
    'WITH near AS MATERIALIZED ('
    'SELECT e.image_id, %1$s AS distance FROM embedding e%2$s'
    ' WHERE e.model_version_id = %3$L%4$s AND e.image_id <> ALL ($3)%5$s%6$s'
    ' ORDER BY %7$s), first AS MATERIALIZED (SELECT * FROM near ORDER BY distance, image_id LIMIT $2)'
    ' SELECT first.image_id, first.distance, i.label, i.metadata, c.name, %3$L::uuid, %8$s'
    ' FROM first JOIN image i ON i.id = first.image_id JOIN collection c ON c.id = i.collection_id'
    '%9$s ORDER BY first.distance, first.image_id',
    clamped, CASE WHEN condition IS NOT NULL THEN ' JOIN image i ON i.id = e.image_id' END, version,
    CASE WHEN within IS NOT NULL THEN format(' AND e.collection_id = %L', within)
         ELSE ' AND e.collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))' END,
    ' AND ' || condition, ' AND (' || clamped || ', e.image_id) > (' || behind || ')',
    CASE kind WHEN 'halfvec' THEN distance || ' LIMIT $6'
              WHEN 'bits' THEN format('binary_quantize(e.vector)::bit(%1$s) <~> binary_quantize($1)::bit(%1$s)'
                                      ' LIMIT $6', dim)
              ELSE clamped || ', e.image_id LIMIT $2' END,
    CASE WHEN kind IS NULL THEN $q$'exact', NULL::integer, $4$q$ ELSE $q$'hnsw', $5, false$q$ END,
    CASE kind WHEN 'halfvec' THEN ' WHERE $4 OR (SELECT count(*) FROM near) >= $2'
              WHEN 'bits' THEN ' WHERE $4 OR (SELECT count(*) FROM near) >= $6 * 6 / 10' END)
FROM format('(e.vector::halfvec(%1$s) <=> $1::halfvec(%1$s))', dim) distance,
    format('greatest(0, %s)', distance) clamped
$$;
REVOKE EXECUTE ON FUNCTION nearest_statement FROM PUBLIC;
"""
INDEXED = r"""
DROP FUNCTION search_by_index, search_active, create_active_search(uuid, integer);
-- Makes a function that runs a statement through the index: it leaves the planner no other way, and brings the caller's
-- settings back (an error does so by itself). No SET clause does that for hnsw.…: a dump with one could only be
-- restored by a superuser, as pgvector may not be loaded then.
-- lookup: what is done first; guard: whether to search at all then. Beside `search_images`, wherever the caller's
-- search path begins.
CREATE OR REPLACE FUNCTION create_index_search(name text, arguments text, lookup text, guard text, statement text)
RETURNS void LANGUAGE plpgsql AS $create$
DECLARE
    place CONSTANT regnamespace := (SELECT pronamespace FROM pg_proc WHERE oid = 'nearest_statement'::regproc);
BEGIN
    EXECUTE format($format$
        CREATE OR REPLACE FUNCTION %1$s.%2$I(
            query halfvec, k integer, besides uuid[], fewer_will_do boolean, ef integer, candidates integer, %3$s
        ) RETURNS SETOF %1$s.found_image
        LANGUAGE plpgsql STABLE ROWS 10 SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
        SET enable_mergejoin = off SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $body$
        DECLARE
            before text[]; settings text[]; images bigint; most bigint;
        BEGIN
            %4$s;
            IF %5$s THEN
                before := ARRAY[current_setting('hnsw.iterative_scan'), current_setting('hnsw.ef_search'),
                    current_setting('hnsw.max_scan_tuples')];
                settings := ARRAY[set_config('hnsw.iterative_scan', 'relaxed_order', true),
                    set_config('hnsw.ef_search', ef::text, true),
                    set_config('hnsw.max_scan_tuples', most::text, true)];
                RETURN QUERY %6$s;
                settings := ARRAY[set_config('hnsw.iterative_scan', before[1], true),
                    set_config('hnsw.ef_search', before[2], true), set_config('hnsw.max_scan_tuples', before[3], true)];
            END IF;
        END $body$;
        REVOKE EXECUTE ON FUNCTION %1$s.%2$I FROM PUBLIC
    $format$, place, name, arguments, lookup, guard, statement);
END $create$;

-- Runs the statement that it is given, planned at each call.
SELECT create_index_search('search_by_index', 'most_scanned bigint, statement text', 'most := most_scanned', 'true',
    'EXECUTE statement USING query, k, besides, fewer_will_do, ef, candidates');

-- Makes `search_active`, which searches the active version through its index, by a vector or by the one of `example`.
-- Its plan is kept by Postgres, as the version's id and width stand in it; it has no rows for another version, without
-- an index, for few images and for a vector that does not fit.
CREATE FUNCTION create_active_search(version uuid, dim integer, kind text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name CONSTANT text := 'embedding_' || replace(version::text, '-', '');
BEGIN
    PERFORM create_index_search('search_active', 'example uuid, version uuid',
        format($lookup$
            SELECT pg_relation_size(to_regclass(%2$L)) / %3$s, CASE WHEN example IS NULL THEN query ELSE (
                SELECT e.vector FROM embedding e WHERE e.model_version_id = %1$L AND e.image_id = example
                AND e.collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))) END
            INTO images, query
            WHERE (version IS NULL OR version = %1$L)
              AND (SELECT state = 'active' FROM model_version WHERE id = %1$L)
              AND (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%2$L || '_hnsw'));
            ef := coalesce(ef, ef_search_for(k, false, %4$L));
            candidates := candidates_for(k, 0, ef, %4$L);
            most := most_scanned(images, candidates, %4$L)
        $lookup$, version, name, 2 * dim + 72, kind),
        format($guard$
            (fewer_will_do OR images > exact_up_to() AND candidates <= most_candidates(images))
            AND vector_dims(query) = %s AND l2_norm(query) > 0
        $guard$, dim),
        nearest_statement(version, dim, NULL, NULL, kind));
END $$;
REVOKE EXECUTE ON FUNCTION create_active_search FROM PUBLIC;
SELECT create_active_search('00000000-0000-0000-0000-000000000000', 1, 'halfvec');
SELECT create_active_search(id, dim, hnsw_kind) FROM model_version WHERE state = 'active';

CREATE OR REPLACE FUNCTION version_activated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_active_search(NEW.id, NEW.dim, NEW.hnsw_kind);
    RETURN NULL;
END $$;
DROP TRIGGER version_activated ON model_version;
CREATE TRIGGER version_activated AFTER INSERT OR UPDATE OF state, hnsw_kind ON model_version FOR EACH ROW
WHEN (NEW.state = 'active') EXECUTE FUNCTION version_activated();
"""
SEARCH = """
-- behind_distance, behind_image: only images that come behind this place in the order; passed: how many are before.
CREATE OR REPLACE FUNCTION search_images(
    query halfvec DEFAULT NULL, example uuid DEFAULT NULL, k integer DEFAULT 10, collection_name text DEFAULT NULL,
    besides uuid[] DEFAULT '{}', condition text DEFAULT NULL, countable boolean DEFAULT true,
    exact boolean DEFAULT false, version uuid DEFAULT NULL, only_ef integer DEFAULT NULL, within uuid DEFAULT NULL,
    behind_distance double precision DEFAULT NULL, behind_image uuid DEFAULT NULL, passed integer DEFAULT 0
) RETURNS SETOF found_image LANGUAGE plpgsql STABLE ROWS 10 AS $$
DECLARE
    dim integer; kind text; images bigint; many boolean; few integer; restricted boolean; ef integer;
    candidates integer; passing text; passing_ids uuid[];
    behind CONSTANT text := CASE WHEN behind_image IS NOT NULL THEN
        format('%L::float8, %L::uuid', behind_distance, behind_image) END;
BEGIN
    -- Most searches end here.
    IF collection_name IS NULL AND within IS NULL AND condition IS NULL AND NOT exact AND behind_image IS NULL
        AND k BETWEEN 1 AND 1001
    THEN
        RETURN QUERY SELECT * FROM search_active(query, k,
            CASE WHEN example IS NULL THEN besides ELSE besides || example END, only_ef IS NOT NULL, only_ef, NULL,
            example, version);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- One statement for all that has to be known. The number of images is taken from the partition's size, which costs
    -- nothing to ask.
    SELECT v.id, v.dim, v.hnsw_kind,
        pg_relation_size(to_regclass('embedding_' || replace(v.id::text, '-', ''))) / (2 * v.dim + 72),
        coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(
            'embedding_' || replace(v.id::text, '-', '') || '_hnsw')), false),
        CASE WHEN example IS NULL THEN query ELSE (
            SELECT e.vector FROM embedding e WHERE e.model_version_id = v.id AND e.image_id = example
            AND e.collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))) END
    INTO version, dim, kind, images, many, query FROM model_version v
    WHERE v.id = version OR version IS NULL AND v.state = 'active';
    IF version IS NULL THEN
        RAISE 'no model is active yet' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'A worker registers one when it first starts.';
    END IF;
    IF example IS NOT NULL THEN
        besides := besides || example;
    END IF;
    IF k IS NULL OR k NOT BETWEEN 1 AND 10000 THEN
        RAISE 'k must be 1 to 10000, not %', coalesce(k::text, 'null') USING ERRCODE = 'invalid_parameter_value';
    ELSIF vector_dims(query) <> dim THEN
        RAISE 'the query has % numbers, the active model''s vectors have %', vector_dims(query), dim
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF l2_norm(query) = 0 THEN
        RAISE 'the query is the zero vector, which is near to nothing' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF collection_name IS NOT NULL THEN
        SELECT c.id INTO within FROM collection c WHERE c.name = collection_name AND c.deleted_at IS NULL;
        IF within IS NULL THEN
            RAISE 'there is no collection %', quote_literal(collection_name) USING ERRCODE = 'undefined_object',
                HINT = 'SELECT DISTINCT collection FROM umbel.images lists those that hold pictures.';
        END IF;
    END IF;
    IF query IS NULL THEN
        RETURN QUERY SELECT NULL::uuid, NULL::double precision, NULL, NULL::jsonb, NULL, version, NULL, NULL::integer,
            false;
        RETURN;
    END IF;
    restricted := within IS NOT NULL OR condition IS NOT NULL OR behind IS NOT NULL;
    -- Of bits, more candidates have to pass a filter.
    few := exact_up_to() / CASE WHEN condition IS NULL THEN 1 WHEN kind = 'bits' THEN 2 ELSE 5 END;
    -- Through the index as deep as the largest ef_search reaches, and one more, which tells whether there are more:
    -- what it gives beyond is what it happened to pass, and misses a tenth.
    ef := coalesce(only_ef, ef_search_for(passed + k, restricted, kind));
    candidates := candidates_for(k, passed, ef, kind);
    many := many AND NOT exact AND (only_ef IS NOT NULL
        OR images > few AND passed + k <= 1001 AND candidates <= most_candidates(images));
    IF condition IS NOT NULL THEN
        passing := format('SELECT coalesce(array_agg(id), ''{}'') FROM (
            SELECT i.id FROM image i WHERE %s%s LIMIT %s) passing',
            CASE WHEN within IS NOT NULL THEN format('i.collection_id = %L AND ', within) END, condition, few + 1);
    END IF;
    IF many AND only_ef IS NULL AND condition IS NOT NULL AND countable THEN
        EXECUTE passing INTO passing_ids;
        many := cardinality(passing_ids) > few;
    ELSIF many AND only_ef IS NULL AND within IS NOT NULL AND condition IS NULL THEN
        EXECUTE format('SELECT count(*) > %1$s FROM (
            SELECT FROM embedding WHERE model_version_id = %2$L AND collection_id = %3$L LIMIT %1$s + 1) candidate',
            few, version, within) INTO many;
    END IF;
    many := coalesce(many, false);
    IF many THEN
        RETURN QUERY SELECT * FROM search_by_index(query, k, besides, only_ef IS NOT NULL, ef, candidates,
            most_scanned(images, candidates, kind), nearest_statement(version, dim, within, condition, kind, behind));
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF (only_ef IS NULL OR NOT many) AND condition IS NULL THEN
        RETURN QUERY EXECUTE nearest_statement(version, dim, within, NULL, NULL, behind)
            USING query, k, besides, many;
    ELSIF only_ef IS NULL OR NOT many THEN
        IF passing_ids IS NULL THEN
            EXECUTE passing INTO passing_ids;
        END IF;
        RETURN QUERY EXECUTE exact_statement(version, dim, within, condition, cardinality(passing_ids) <= few, behind)
            USING query, k, besides, many, passing_ids;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::uuid, NULL::double precision, NULL, NULL::jsonb, NULL, version,
            CASE WHEN only_ef IS NOT NULL AND many THEN 'hnsw' ELSE 'exact' END, only_ef, many AND only_ef IS NULL;
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION search_images FROM PUBLIC;
"""
DROP_BITS = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT 'embedding_' || replace(id::text, '-', '') || '_hnsw' FROM model_version WHERE hnsw_kind = 'bits'
    LOOP EXECUTE format('DROP INDEX IF EXISTS %I', name); END LOOP;
END $$;
"""
DROP = """
DROP TRIGGER version_activated ON model_version;
DROP FUNCTION version_activated, search_active, search_by_index, create_active_search, create_index_search,
    nearest_statement, ef_search_for, candidates_for, most_candidates, most_scanned;
ALTER TABLE model_version DROP COLUMN hnsw_kind;
ALTER TABLE reindex DROP COLUMN hnsw_kind;
"""
REVOKE = """
REVOKE EXECUTE ON FUNCTION ef_search_for, nearest_statement, create_index_search, create_active_search,
    version_activated FROM PUBLIC;
SELECT create_active_search(id, dim) FROM model_version WHERE state = 'active';
"""


def upgrade() -> None:
    op.execute(COLUMNS + NUMBERS + STATEMENT + INDEXED + SEARCH)


def downgrade() -> None:
    """An index of bits goes, as the functions of before do not use it: the service builds one of half floats."""
    baseline = (Path(__file__).parents[1] / "baseline" / "search.sql").read_text()
    before = import_module("migrations.versions.0016_pages_of_searches")
    former = [
        _part(baseline, r"CREATE FUNCTION ef_search_for\(.*?;"),
        _part(before.STATEMENTS, r"CREATE FUNCTION nearest_statement\(.*?\n\$\$;"),
        _part(baseline, r"CREATE FUNCTION create_index_search\(.*?EXECUTE FUNCTION version_activated\(\);"),
    ]
    op.execute("\n".join([DROP_BITS, DROP, *former, REVOKE, before.SEARCH]))


def _part(text: str, pattern: str) -> str:
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None
    return found[0]
