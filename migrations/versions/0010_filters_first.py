"""Exact searches behind a filter look at the filter first; a filter that many images pass goes through the index.

Revision: 0010

Whether few pass was asked with `collection_id = NULL` where no collection was named, so it was always few.
"""

import re
from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest_code = "0005"

EXACT = """
-- The exact statement behind a condition. Few images: those with these ids ($5), each looked up. More: first the
-- condition, for which no vector is read, then one pass over the vectors. Left to choose, the planner sorts all vectors
-- by their distance and looks up the image of each, as it takes half of them to meet any condition on metadata.
CREATE FUNCTION exact_statement(version uuid, dim integer, within uuid, condition text, few boolean) RETURNS text
LANGUAGE sql STABLE AS $$
SELECT format(
    'WITH %1$snear AS MATERIALIZED ('
    'SELECT e.image_id, e.vector::halfvec(%2$s) <=> $1::halfvec(%2$s) AS distance FROM embedding e'
    ' WHERE e.model_version_id = %3$L AND e.collection_id <> ALL (ARRAY('
    'SELECT id FROM collection WHERE deleted_at IS NOT NULL)) AND e.image_id <> ALL ($3) AND e.image_id = ANY (%4$s)'
    ' ORDER BY (e.vector::halfvec(%2$s) <=> $1::halfvec(%2$s)) + 0, e.image_id LIMIT $2)'
    ' SELECT near.image_id, greatest(0, near.distance), i.label, i.metadata, c.name, %3$L::uuid,'
    ' ''exact'', NULL::integer, $4'
    ' FROM near JOIN image i ON i.id = near.image_id JOIN collection c ON c.id = i.collection_id'
    ' ORDER BY near.distance + 0, near.image_id',
    CASE WHEN NOT few THEN format('passing AS MATERIALIZED (SELECT i.id FROM image i WHERE %s%s), ',
        CASE WHEN within IS NOT NULL THEN format('i.collection_id = %L AND ', within) END, condition) END,
    dim, version, CASE WHEN few THEN '$5' ELSE 'SELECT id FROM passing' END)
$$;
REVOKE EXECUTE ON FUNCTION exact_statement FROM PUBLIC;
"""

SEARCH = """
CREATE OR REPLACE FUNCTION search_images(
    query halfvec DEFAULT NULL, example uuid DEFAULT NULL, k integer DEFAULT 10, collection_name text DEFAULT NULL,
    besides uuid[] DEFAULT '{}', condition text DEFAULT NULL, countable boolean DEFAULT true,
    exact boolean DEFAULT false, version uuid DEFAULT NULL, only_ef integer DEFAULT NULL, within uuid DEFAULT NULL
) RETURNS SETOF found_image LANGUAGE plpgsql STABLE ROWS 10 AS $$
DECLARE
    dim integer; images bigint; many boolean; few integer; restricted boolean; ef integer; passing text;
    candidates uuid[];
BEGIN
    -- Most searches end here.
    IF collection_name IS NULL AND within IS NULL AND condition IS NULL AND NOT exact AND k BETWEEN 1 AND 1000 THEN
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
    IF k IS NULL OR k NOT BETWEEN 1 AND 1000 THEN
        RAISE 'k must be 1 to 1000, not %', coalesce(k::text, 'null') USING ERRCODE = 'invalid_parameter_value';
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
    many := many AND NOT exact AND (only_ef IS NOT NULL OR images > few);
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
        ef := coalesce(only_ef, ef_search_for(k, restricted));
        RETURN QUERY SELECT * FROM search_by_index(query, k, besides, only_ef IS NOT NULL, ef, images,
            nearest_statement(version, dim, within, condition, false));
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF (only_ef IS NULL OR NOT many) AND condition IS NULL THEN
        RETURN QUERY EXECUTE nearest_statement(version, dim, within, NULL, true) USING query, k, besides, many;
    ELSIF only_ef IS NULL OR NOT many THEN
        IF candidates IS NULL THEN
            EXECUTE passing INTO candidates;
        END IF;
        RETURN QUERY EXECUTE exact_statement(version, dim, within, condition, cardinality(candidates) <= few)
            USING query, k, besides, many, candidates;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::uuid, NULL::double precision, NULL, NULL::jsonb, NULL, version,
            CASE WHEN only_ef IS NOT NULL AND many THEN 'hnsw' ELSE 'exact' END, only_ef, many AND only_ef IS NULL;
    END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(EXACT + SEARCH)


def downgrade() -> None:
    baseline = (Path(__file__).parents[1] / "baseline" / "search.sql").read_text()
    former = re.search(r"CREATE FUNCTION search_images\(.*?\nEND \$\$;", baseline, re.DOTALL)
    assert former is not None
    op.execute(former[0].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
    op.execute("DROP FUNCTION exact_statement")
