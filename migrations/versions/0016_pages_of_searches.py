"""A search goes on behind a place in its order, and finds up to 10,000 images.

Revision: 0016

Images that lie as near as rounding can tell are ordered by id, through the index as well: it is asked for some more
than are wanted, as it gives those at one distance in any order.
"""

import re
from importlib import import_module
from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
oldest_code = "0005"

STATEMENTS = """
DROP FUNCTION nearest_statement;
-- The statement for the k ($2) nearest to a vector ($1) without some images ($3), of those behind a place ("distance,
-- id" as SQL) if there is one. Through the index, with ef_search $5, it has no rows where that gives up before k,
-- unless fewer will do ($4); an exact one says whether it did so ($4).
-- Only a literal version prunes to its partition, and only a literal width is the expression of its index. Of images at
-- one distance the index gives any: with 16 more than k, those with the least ids are among them, but for larger sets.
-- greatest: rounding may take a distance below zero; it keeps the index out of an exact scan, too, and has the rough
-- order of the index sorted, which the planner takes for sorted already.
CREATE FUNCTION nearest_statement(
    version uuid, dim integer, within uuid, condition text, exact boolean, behind text DEFAULT NULL
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
    CASE WHEN exact THEN clamped || ', e.image_id LIMIT $2' ELSE distance || ' LIMIT $2 + 16' END,
    CASE WHEN exact THEN $q$'exact', NULL::integer, $4$q$ ELSE $q$'hnsw', $5, false$q$ END,
    CASE WHEN NOT exact THEN ' WHERE $4 OR (SELECT count(*) FROM near) >= $2' END)
FROM format('(e.vector::halfvec(%1$s) <=> $1::halfvec(%1$s))', dim) distance,
    format('greatest(0, %s)', distance) clamped
$$;
REVOKE EXECUTE ON FUNCTION nearest_statement FROM PUBLIC;
SELECT create_active_search(id, dim) FROM model_version WHERE state = 'active';

DROP FUNCTION exact_statement;
-- The exact statement behind a condition. Few images: those with these ids ($5), each looked up. More: first the
-- condition, for which no vector is read, then one pass over the vectors. Left to choose, the planner sorts all vectors
-- by their distance and looks up the image of each, as it takes half of them to meet any condition on metadata.
CREATE FUNCTION exact_statement(
    version uuid, dim integer, within uuid, condition text, few boolean, behind text DEFAULT NULL
) RETURNS text LANGUAGE sql STABLE AS $$
SELECT format(
    'WITH %1$snear AS MATERIALIZED ('
    'SELECT e.image_id, %2$s AS distance FROM embedding e'
    ' WHERE e.model_version_id = %3$L AND e.collection_id <> ALL (ARRAY('
    'SELECT id FROM collection WHERE deleted_at IS NOT NULL)) AND e.image_id <> ALL ($3)'
    ' AND e.image_id = ANY (%4$s)%5$s'
    ' ORDER BY %2$s, e.image_id LIMIT $2)'
    ' SELECT near.image_id, near.distance, i.label, i.metadata, c.name, %3$L::uuid,'
    ' ''exact'', NULL::integer, $4'
    ' FROM near JOIN image i ON i.id = near.image_id JOIN collection c ON c.id = i.collection_id'
    ' ORDER BY near.distance, near.image_id',
    CASE WHEN NOT few THEN format('passing AS MATERIALIZED (SELECT i.id FROM image i WHERE %s%s), ',
        CASE WHEN within IS NOT NULL THEN format('i.collection_id = %L AND ', within) END, condition) END,
    clamped, version, CASE WHEN few THEN '$5' ELSE 'SELECT id FROM passing' END,
    ' AND (' || clamped || ', e.image_id) > (' || behind || ')')
FROM format('greatest(0, e.vector::halfvec(%1$s) <=> $1::halfvec(%1$s))', dim) clamped
$$;
REVOKE EXECUTE ON FUNCTION exact_statement FROM PUBLIC;
"""
SEARCH = """
DROP FUNCTION search_images;
-- behind_distance, behind_image: only images that come behind this place in the order; passed: how many are before.
CREATE FUNCTION search_images(
    query halfvec DEFAULT NULL, example uuid DEFAULT NULL, k integer DEFAULT 10, collection_name text DEFAULT NULL,
    besides uuid[] DEFAULT '{}', condition text DEFAULT NULL, countable boolean DEFAULT true,
    exact boolean DEFAULT false, version uuid DEFAULT NULL, only_ef integer DEFAULT NULL, within uuid DEFAULT NULL,
    behind_distance double precision DEFAULT NULL, behind_image uuid DEFAULT NULL, passed integer DEFAULT 0
) RETURNS SETOF found_image LANGUAGE plpgsql STABLE ROWS 10 AS $$
DECLARE
    dim integer; images bigint; many boolean; few integer; restricted boolean; ef integer; passing text;
    candidates uuid[]; behind CONSTANT text := CASE WHEN behind_image IS NOT NULL THEN
        format('%L::float8, %L::uuid', behind_distance, behind_image) END;
BEGIN
    -- Most searches end here.
    IF collection_name IS NULL AND within IS NULL AND condition IS NULL AND NOT exact AND behind_image IS NULL
        AND k BETWEEN 1 AND 1001
    THEN
        RETURN QUERY SELECT * FROM search_active(query, k,
            CASE WHEN example IS NULL THEN besides ELSE besides || example END, only_ef IS NOT NULL,
            coalesce(only_ef, ef_search_for(k, false)), example, version);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- One statement for all that has to be known. The number of images is taken from the partition's size, which costs
    -- nothing to ask.
    SELECT v.id, v.dim, pg_relation_size(to_regclass('embedding_' || replace(v.id::text, '-', ''))) / (2 * v.dim + 72),
        coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(
            'embedding_' || replace(v.id::text, '-', '') || '_hnsw')), false),
        CASE WHEN example IS NULL THEN query ELSE (
            SELECT e.vector FROM embedding e WHERE e.model_version_id = v.id AND e.image_id = example
            AND e.collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))) END
    INTO version, dim, images, many, query FROM model_version v
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
    restricted := within IS NOT NULL OR condition IS NOT NULL;
    few := CASE WHEN condition IS NULL THEN exact_up_to() ELSE exact_up_to() / 5 END;
    -- Through the index as deep as the largest ef_search reaches, and one more, which tells whether there are more:
    -- what it gives beyond is what it happened to pass, and misses a tenth.
    many := many AND NOT exact AND (only_ef IS NOT NULL OR images > few AND passed + k <= 1001);
    IF condition IS NOT NULL THEN
        passing := format('SELECT coalesce(array_agg(id), ''{}'') FROM (
            SELECT i.id FROM image i WHERE %s%s LIMIT %s) passing',
            CASE WHEN within IS NOT NULL THEN format('i.collection_id = %L AND ', within) END, condition, few + 1);
    END IF;
    IF many AND only_ef IS NULL AND condition IS NOT NULL AND countable THEN
        EXECUTE passing INTO candidates;
        many := cardinality(candidates) > few;
    ELSIF many AND only_ef IS NULL AND within IS NOT NULL AND condition IS NULL THEN
        EXECUTE format('SELECT count(*) > %1$s FROM (
            SELECT FROM embedding WHERE model_version_id = %2$L AND collection_id = %3$L LIMIT %1$s + 1) candidate',
            few, version, within) INTO many;
    END IF;
    many := coalesce(many, false);
    IF many THEN
        ef := coalesce(only_ef, ef_search_for(passed + k, restricted OR behind IS NOT NULL));
        RETURN QUERY SELECT * FROM search_by_index(query, k, besides, only_ef IS NOT NULL, ef, images,
            nearest_statement(version, dim, within, condition, false, behind));
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF (only_ef IS NULL OR NOT many) AND condition IS NULL THEN
        RETURN QUERY EXECUTE nearest_statement(version, dim, within, NULL, true, behind)
            USING query, k, besides, many;
    ELSIF only_ef IS NULL OR NOT many THEN
        IF candidates IS NULL THEN
            EXECUTE passing INTO candidates;
        END IF;
        RETURN QUERY EXECUTE exact_statement(version, dim, within, condition, cardinality(candidates) <= few, behind)
            USING query, k, besides, many, candidates;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::uuid, NULL::double precision, NULL, NULL::jsonb, NULL, version,
            CASE WHEN only_ef IS NOT NULL AND many THEN 'hnsw' ELSE 'exact' END, only_ef, many AND only_ef IS NULL;
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION search_images FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute(STATEMENTS + SEARCH)


def downgrade() -> None:
    op.execute("DROP FUNCTION search_images; DROP FUNCTION nearest_statement; DROP FUNCTION exact_statement")
    baseline = (Path(__file__).parents[1] / "baseline" / "search.sql").read_text()
    former = re.search(r"CREATE FUNCTION nearest_statement\(.*?\n\$\$;", baseline, re.DOTALL)
    assert former is not None
    before = import_module("migrations.versions.0010_filters_first")
    op.execute(former[0] + "REVOKE EXECUTE ON FUNCTION nearest_statement FROM PUBLIC;" + before.EXACT + before.SEARCH)
    op.execute("REVOKE EXECUTE ON FUNCTION search_images FROM PUBLIC")
    op.execute("SELECT create_active_search(id, dim) FROM model_version WHERE state = 'active'")
