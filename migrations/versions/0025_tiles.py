"""Tiles: overlapping parts of each image of a collection that asks for it, embedded and searched beside the whole.

Revision: 0025

A worker of the former version embeds no tiles, and a version that it registers has no partition for them: switch a
collection to tiles once all workers are new.
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE collection ADD tiles smallint NOT NULL DEFAULT 0 CHECK (tiles IN (0, 4, 9));

-- The vectors of parts of images, partitioned as `embedding` is; number: which part, see umbel/gallery/tiles.py.
-- A table of its own: what is about whole images never meets them.
CREATE TABLE tile (
    model_version_id  uuid NOT NULL REFERENCES model_version,
    image_id          uuid NOT NULL REFERENCES image ON DELETE CASCADE,
    number            smallint NOT NULL,
    collection_id     uuid NOT NULL REFERENCES collection,
    vector            halfvec NOT NULL,
    PRIMARY KEY (image_id, model_version_id, number)
) PARTITION BY LIST (model_version_id);
CREATE INDEX tile_by_collection ON tile (collection_id);

DO $$
DECLARE
    version record; name text;
BEGIN
    FOR version IN SELECT id, dim FROM model_version
        WHERE to_regclass('embedding_' || replace(id::text, '-', '')) IS NOT NULL
    LOOP
        name := 'tile_' || replace(version.id::text, '-', '');
        EXECUTE format('CREATE TABLE %1$I (LIKE tile INCLUDING DEFAULTS);
            ALTER TABLE %1$I ADD CHECK (vector_dims(vector) = %3$s);
            ALTER TABLE tile ATTACH PARTITION %1$I FOR VALUES IN (%2$L);
            CREATE INDEX %4$I ON %1$I USING hnsw ((vector::halfvec(%3$s)) halfvec_cosine_ops)
                WITH (m = 24, ef_construction = 128)', name, version.id, version.dim, name || '_hnsw');
    END LOOP;
END $$;
"""
SEARCH = """
-- As found_image; tile: the part that is nearer than the whole, NULL: none is.
CREATE TYPE found_tile AS (
    image_id uuid, distance double precision, label text, metadata jsonb, collection text,
    model_version uuid, mode text, ef_search integer, exhausted boolean, tile smallint
);

-- How near each image of a collection, or of these, is by the nearest of its vectors, and which that is.
CREATE FUNCTION distances_with_tiles(query halfvec, version uuid, within uuid, candidates uuid[] DEFAULT NULL)
RETURNS TABLE (image_id uuid, distance double precision, tile smallint) LANGUAGE plpgsql STABLE ROWS 10000 AS $$
BEGIN
    -- Only a literal version prunes to its partition. Of an image's vectors at one distance the whole comes first.
    RETURN QUERY EXECUTE format(
        'SELECT v.image_id, v.nearest[1], nullif(v.nearest[2], 0)::smallint FROM ('
        ' SELECT v.image_id,'
        ' min(ARRAY[greatest(0, v.vector::halfvec(%1$s) <=> $1::halfvec(%1$s)), v.number]) AS nearest'
        ' FROM (SELECT e.image_id, 0 AS number, e.vector FROM embedding e'
        '  WHERE e.model_version_id = %2$L AND e.collection_id = %3$L%4$s'
        '  UNION ALL SELECT e.image_id, e.number, e.vector FROM tile e'
        '  WHERE e.model_version_id = %2$L AND e.collection_id = %3$L%4$s) v'
        ' GROUP BY v.image_id) v',
        vector_dims(query), version, within,
        CASE WHEN candidates IS NOT NULL THEN ' AND e.image_id = ANY ($2)' END) USING query, candidates;
END $$;

-- The statement for the images of the k ($2) tiles of a collection that are nearest to a vector ($1), as
-- `search_by_index` runs it: see `nearest_statement`.
CREATE FUNCTION nearest_tiles_statement(version uuid, dim integer, within uuid, condition text) RETURNS text
LANGUAGE sql STABLE AS $$
SELECT format(
    'WITH near AS MATERIALIZED ('
    'SELECT t.image_id FROM tile t%2$s WHERE t.model_version_id = %3$L AND t.collection_id = %4$L'
    ' AND t.image_id <> ALL ($3)%5$s ORDER BY t.vector::halfvec(%1$s) <=> $1::halfvec(%1$s) LIMIT $2)'
    ' SELECT image_id, NULL::float8, NULL, NULL::jsonb, NULL, %3$L::uuid, ''hnsw'', $5, false FROM near'
    ' WHERE $4 OR (SELECT count(*) FROM near) >= $2',
    dim, CASE WHEN condition IS NOT NULL THEN ' JOIN image i ON i.id = t.image_id' END, version, within,
    ' AND ' || condition)
$$;

-- `search_images`, in a collection with tiles by whole images and tiles: each image once, as near as the nearest of its
-- vectors. The images of the n nearest tiles and the n nearest whole images have the nearest by both among them.
CREATE FUNCTION search_tiles(
    query halfvec DEFAULT NULL, example uuid DEFAULT NULL, k integer DEFAULT 10, collection_name text DEFAULT NULL,
    besides uuid[] DEFAULT '{}', condition text DEFAULT NULL, countable boolean DEFAULT true,
    exact boolean DEFAULT false, version uuid DEFAULT NULL, behind_distance double precision DEFAULT NULL,
    behind_image uuid DEFAULT NULL, passed integer DEFAULT 0
) RETURNS SETOF found_tile LANGUAGE plpgsql STABLE ROWS 10 AS $$
DECLARE
    within uuid; tiles integer; known record; name text; many boolean; candidates uuid[]; matches found_tile[];
    ef integer; few CONSTANT integer := exact_up_to();
BEGIN
    SELECT c.id, c.tiles INTO within, tiles FROM collection c
    WHERE c.name = collection_name AND c.deleted_at IS NULL AND c.tiles > 0;
    IF within IS NULL THEN
        RETURN QUERY SELECT f.*, NULL::smallint FROM search_images(
            query, example, k, collection_name, besides, condition, countable, exact, version,
            behind_distance => behind_distance, behind_image => behind_image, passed => passed) f;
        RETURN;
    END IF;
    -- Checked there, and the version found: nothing meets this condition.
    SELECT * INTO known FROM search_images(query, example, k, collection_name, besides, 'FALSE', true, true, version);
    IF known.mode IS NULL THEN
        RETURN QUERY SELECT known.*, NULL::smallint;
        RETURN;
    END IF;
    IF example IS NOT NULL THEN
        EXECUTE format('SELECT vector FROM embedding WHERE model_version_id = %L AND image_id = %L',
            known.model_version, example) INTO query;
        besides := besides || example;
    END IF;
    name := 'tile_' || replace(known.model_version::text, '-', '');
    -- So many tiles are of as many images as are wanted, whichever they are.
    many := NOT exact AND (passed + k) * tiles <= 1000
        AND coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(name || '_hnsw')), false);
    IF many THEN
        EXECUTE format('SELECT count(*) > %1$s FROM (
            SELECT FROM tile WHERE model_version_id = %2$L AND collection_id = %3$L LIMIT %1$s + 1) candidate',
            few, known.model_version, within) INTO many;
    END IF;
    IF many AND condition IS NOT NULL AND countable THEN
        EXECUTE format('SELECT count(*) > %2$s FROM (
            SELECT FROM image i WHERE i.collection_id = %1$L AND %3$s LIMIT %2$s + 1) passing',
            within, few / 5 / tiles, condition) INTO many;
    END IF;
    IF many THEN
        ef := ef_search_for((passed + k) * tiles, true);
        SELECT array_agg(f.image_id) INTO candidates FROM search_by_index(
            query, (passed + k) * tiles, besides, false, ef, (passed + k) * tiles,
            pg_relation_size(to_regclass(name)) / (2 * vector_dims(query) + 72),
            nearest_tiles_statement(known.model_version, vector_dims(query), within, condition)) f;
        many := candidates IS NOT NULL;  -- the index did not give up before
    END IF;
    IF many THEN
        candidates := candidates || ARRAY(SELECT f.image_id FROM search_images(
            query, NULL, passed + k, collection_name, besides, condition, countable, false, known.model_version) f
            WHERE f.image_id IS NOT NULL);
    END IF;
    LOOP
        IF NOT many AND condition IS NOT NULL THEN
            EXECUTE format('SELECT coalesce(array_agg(i.id), ''{}'') FROM image i WHERE i.collection_id = %L AND %s',
                within, condition) INTO candidates;
        ELSIF NOT many THEN
            candidates := NULL;
        END IF;
        matches := ARRAY(
            SELECT ROW(near.image_id, near.distance, i.label, i.metadata, collection_name, known.model_version,
                CASE WHEN many THEN 'hnsw' ELSE 'exact' END, CASE WHEN many THEN ef END,
                NOT many AND ef IS NOT NULL, near.tile)::found_tile
            FROM (
                SELECT * FROM distances_with_tiles(query, known.model_version, within, candidates) d
                WHERE d.image_id <> ALL (besides)
                  AND (behind_image IS NULL OR (d.distance, d.image_id) > (behind_distance, behind_image))
                ORDER BY d.distance, d.image_id LIMIT k
            ) near JOIN image i ON i.id = near.image_id ORDER BY near.distance, near.image_id);
        -- Images that came in before the place of a page have taken room from those behind it.
        EXIT WHEN NOT many OR cardinality(matches) = k;
        many := false;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(matches);
    IF NOT FOUND THEN
        RETURN QUERY SELECT known.*, NULL::smallint;
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION distances_with_tiles, nearest_tiles_statement, search_tiles FROM PUBLIC;
"""
TYPES = (
    "'upload', 'import', 'repair', 'comparison', 'deletion', 'reindex', 'map', 'change', 'removal', 'restoration',"
    " 'purge', 'sync'"
)


def upgrade() -> None:
    op.execute(TABLES + SEARCH)
    _constrain(f"{TYPES}, 'tiling'")


def downgrade() -> None:
    op.execute("""
        DROP FUNCTION search_tiles; DROP FUNCTION nearest_tiles_statement; DROP FUNCTION distances_with_tiles;
        DROP TYPE found_tile; DROP TABLE tile; ALTER TABLE collection DROP tiles;
        DELETE FROM job WHERE type = 'tiling'
    """)
    _constrain(TYPES)


def _constrain(types: str) -> None:
    """NOT VALID: all rows meet the check already, and to go through them would hold up writers."""
    op.execute(
        "ALTER TABLE job DROP CONSTRAINT job_type_check,"
        f" ADD CONSTRAINT job_type_check CHECK (type IN ({types})) NOT VALID"
    )
