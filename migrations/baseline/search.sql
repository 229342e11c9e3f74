-- The schema `umbel`, for people who would rather query, and the nearest-neighbor functions; measured recall.
-- Who may use it: umbel/access/reader.py. Roles belong to the whole server: no migration takes one away.

-- What is not here is not shown: names of files, keys of blobs, places of sources, errors that tell of either.
CREATE SCHEMA umbel;
COMMENT ON SCHEMA umbel IS 'The gallery, to be queried: docs/sql.md';

CREATE VIEW umbel.images AS
SELECT i.id AS image_id, c.name AS collection, i.label, i.metadata, i.width, i.height, i.media_type, i.size, i.sha256,
       i.created_at
FROM image i JOIN collection c ON c.id = i.collection_id AND c.deleted_at IS NULL;
COMMENT ON VIEW umbel.images IS 'Every picture, embedded or not';

-- The only view that hides rows, hence the barrier: no function of the reader's own sees a row that has not passed.
CREATE VIEW umbel.embeddings WITH (security_barrier) AS
SELECT e.image_id, c.name AS collection, e.model_version_id AS model_version, e.vector
FROM embedding e JOIN collection c ON c.id = e.collection_id AND c.deleted_at IS NULL
WHERE e.model_version_id = (SELECT v.id FROM model_version v WHERE v.state = 'active');
COMMENT ON VIEW umbel.embeddings IS 'The unit vectors of the pictures, by the model version that is active now';

CREATE VIEW umbel.jobs AS
SELECT j.id AS job_id, j.type, c.name AS collection, j.status, j.total, j.pending, j.indexed, j.duplicate, j.failed,
       j.cancelled, j.attempts, j.model_version_id AS model_version, j.created_at, j.started_at, j.finished_at
FROM job j LEFT JOIN collection c ON c.id = j.collection_id;
COMMENT ON VIEW umbel.jobs IS 'Uploads, imports and other work; total is the sum of the five counts after it';

-- A type, as a function cannot have a parameter and a column of its result of the same name.
CREATE TYPE umbel.match AS (
    image_id uuid, distance double precision, label text, collection text, metadata jsonb
);
COMMENT ON TYPE umbel.match IS 'A picture found, and its cosine distance to the query, 0 to 2';

-- Nearest neighbors, for all who ask: umbel/search, umbel.nearest and umbel.similar_images, the comparison of a
-- collection, measured recall. Exact up to this many candidates, which takes milliseconds; beyond, HNSW with iterative
-- scan. What passes a filter lies scattered and costs five times as much to scan, so a fifth of it is scanned.
-- STABLE, as plans that have folded an immutable one would keep its former value.
CREATE FUNCTION exact_up_to() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT 10000';

-- The ef_search for k. With a filter or within a collection matches come from farther away, where a narrow search
-- misses more: it is wider there. 1000 is pgvector's limit.
CREATE FUNCTION ef_search_for(k integer, restricted boolean) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT least(1000, greatest(CASE WHEN restricted THEN 300 ELSE 64 END, 2 * k))';

-- One row a match: image, label and collection, then how it was found. A type, as several functions return it.
CREATE TYPE found_image AS (
    image_id uuid, distance double precision, label text, metadata jsonb, collection text,
    model_version uuid, mode text, ef_search integer, exhausted boolean
);

-- The statement for the k ($2) nearest to a vector ($1) without some images ($3). Through the index, with ef_search $5,
-- it has no rows where that gives up before k, unless fewer will do ($4); an exact one says whether it did so ($4).
-- Only a literal version prunes to its partition, and only a literal width is the expression of its index. Adding zero
-- has the rough order of the index sorted, which the planner takes for sorted already, and keeps the index out of an
-- exact scan.
CREATE FUNCTION nearest_statement(version uuid, dim integer, within uuid, condition text, exact boolean) RETURNS text
LANGUAGE sql STABLE AS $$
SELECT format(
    'WITH near AS MATERIALIZED ('
    'SELECT e.image_id, e.vector::halfvec(%1$s) <=> $1::halfvec(%1$s) AS distance FROM embedding e%2$s'
    ' WHERE e.model_version_id = %3$L%4$s AND e.image_id <> ALL ($3)%5$s'
    ' ORDER BY (e.vector::halfvec(%1$s) <=> $1::halfvec(%1$s))%6$s LIMIT $2)'
    -- Rounding may take a distance below zero.
    ' SELECT near.image_id, greatest(0, near.distance), i.label, i.metadata, c.name, %3$L::uuid, %7$s'
    ' FROM near JOIN image i ON i.id = near.image_id JOIN collection c ON c.id = i.collection_id'
    '%8$s ORDER BY near.distance + 0, near.image_id',
    dim, CASE WHEN condition IS NOT NULL THEN ' JOIN image i ON i.id = e.image_id' END, version,
    CASE WHEN within IS NOT NULL THEN format(' AND e.collection_id = %L', within)
         ELSE ' AND e.collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))' END,
    ' AND ' || condition, CASE WHEN exact THEN ' + 0, e.image_id' END,
    CASE WHEN exact THEN $q$'exact', NULL::integer, $4$q$ ELSE $q$'hnsw', $5, false$q$ END,
    CASE WHEN NOT exact THEN ' WHERE $4 OR (SELECT count(*) FROM near) = $2' END)
$$;

-- Makes a function that runs a statement through the index: it leaves the planner no other way, and brings the caller's
-- settings back (an error does so by itself). No SET clause does that for hnsw.…: a dump with one could only be
-- restored by a superuser, as pgvector may not be loaded then.
-- lookup: what is done first; guard: whether to search at all then. Beside `search_images`, wherever the caller's search
-- path begins.
CREATE FUNCTION create_index_search(name text, arguments text, lookup text, guard text, statement text) RETURNS void
LANGUAGE plpgsql AS $create$
DECLARE
    place CONSTANT regnamespace := (SELECT pronamespace FROM pg_proc WHERE oid = 'nearest_statement'::regproc);
BEGIN
    EXECUTE format($format$
        CREATE OR REPLACE FUNCTION %1$s.%2$I(
            query halfvec, k integer, besides uuid[], fewer_will_do boolean, ef integer, %3$s
        ) RETURNS SETOF %1$s.found_image
        LANGUAGE plpgsql STABLE ROWS 10 SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
        SET enable_mergejoin = off SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $body$
        DECLARE
            before text[]; settings text[]; images bigint;
        BEGIN
            %4$s;
            IF %5$s THEN
                before := ARRAY[current_setting('hnsw.iterative_scan'), current_setting('hnsw.ef_search'),
                    current_setting('hnsw.max_scan_tuples')];
                -- Followed for at most a fiftieth of the gallery: then a scan is cheaper.
                settings := ARRAY[set_config('hnsw.iterative_scan', 'relaxed_order', true),
                    set_config('hnsw.ef_search', ef::text, true),
                    set_config('hnsw.max_scan_tuples', greatest(2000, images / 50)::text, true)];
                RETURN QUERY %6$s;
                settings := ARRAY[set_config('hnsw.iterative_scan', before[1], true),
                    set_config('hnsw.ef_search', before[2], true), set_config('hnsw.max_scan_tuples', before[3], true)];
            END IF;
        END $body$;
        REVOKE EXECUTE ON FUNCTION %1$s.%2$I FROM PUBLIC
    $format$, place, name, arguments, lookup, guard, statement);
END $create$;

-- Runs the statement that it is given, planned at each call.
SELECT create_index_search('search_by_index', 'number_of_images bigint, statement text', 'images := number_of_images',
    'true', 'EXECUTE statement USING query, k, besides, fewer_will_do, ef');

-- Makes `search_active`, which searches the active version through its index, by a vector or by the one of `example`.
-- Its plan is kept by Postgres, as the version's id and width stand in it; it has no rows for another version, without
-- an index, for few images and for a vector that does not fit.
CREATE FUNCTION create_active_search(version uuid, dim integer) RETURNS void LANGUAGE plpgsql AS $$
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
              AND (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%2$L || '_hnsw'))
        $lookup$, version, name, 2 * dim + 72),
        format('(fewer_will_do OR images > exact_up_to()) AND vector_dims(query) = %s AND l2_norm(query) > 0', dim),
        nearest_statement(version, dim, NULL, NULL, false));
END $$;
SELECT create_active_search('00000000-0000-0000-0000-000000000000', 1);  -- until there is a version, it finds nothing

CREATE FUNCTION version_activated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_active_search(NEW.id, NEW.dim);
    RETURN NULL;
END $$;
CREATE TRIGGER version_activated AFTER INSERT OR UPDATE OF state ON model_version FOR EACH ROW
WHEN (NEW.state = 'active') EXECUTE FUNCTION version_activated();

-- A search of the gallery, one row a match, nearest first, ties by id; one row without an image where nothing matched.
-- Each row says how it was found and by which version. By a vector of the version (unset: of the active one), or by
-- the vector of `example`, which is left out; mode is null where that has none. STABLE, so that all it looks at is of
-- the caller's snapshot.
-- within: a collection's id, for those who know it. condition: SQL over the image `i`, which only our own role may
-- pass; countable: an index finds what meets it. only_ef: through the index with this ef_search, however few there are,
-- and without a scan where that comes back short.
CREATE FUNCTION search_images(
    query halfvec DEFAULT NULL, example uuid DEFAULT NULL, k integer DEFAULT 10, collection_name text DEFAULT NULL,
    besides uuid[] DEFAULT '{}', condition text DEFAULT NULL, countable boolean DEFAULT true,
    exact boolean DEFAULT false, version uuid DEFAULT NULL, only_ef integer DEFAULT NULL, within uuid DEFAULT NULL
) RETURNS SETOF found_image LANGUAGE plpgsql STABLE ROWS 10 AS $$
DECLARE
    dim integer; images bigint; many boolean; few integer; restricted boolean; ef integer;
BEGIN
    -- Most searches end here.
    IF collection_name IS NULL AND within IS NULL AND condition IS NULL AND NOT exact AND k BETWEEN 1 AND 1000 THEN
        RETURN QUERY SELECT * FROM search_active(query, k, CASE WHEN example IS NULL THEN besides ELSE besides || example END,
            only_ef IS NOT NULL, coalesce(only_ef, ef_search_for(k, false)), example, version);
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
        RETURN QUERY SELECT NULL::uuid, NULL::double precision, NULL, NULL::jsonb, NULL, version, NULL, NULL::integer, false;
        RETURN;
    END IF;
    restricted := within IS NOT NULL OR condition IS NOT NULL;
    few := CASE WHEN condition IS NULL THEN exact_up_to() ELSE exact_up_to() / 5 END;
    many := many AND NOT exact AND (only_ef IS NOT NULL OR images > few);
    IF many AND only_ef IS NULL AND restricted AND (condition IS NULL OR countable) THEN
        EXECUTE format('SELECT count(*) > %1$s FROM (SELECT FROM %2$s LIMIT %1$s + 1) candidate', few, CASE
            WHEN condition IS NULL
            THEN format('embedding WHERE model_version_id = %L AND collection_id = %L', version, within)
            ELSE 'image i WHERE ' || coalesce(format('i.collection_id = %L AND ', within), '') || condition END)
            INTO many;
    END IF;
    IF many THEN
        ef := coalesce(only_ef, ef_search_for(k, restricted));
        RETURN QUERY SELECT * FROM search_by_index(query, k, besides, only_ef IS NOT NULL, ef, images,
            nearest_statement(version, dim, within, condition, false));
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF only_ef IS NULL OR NOT many THEN
        RETURN QUERY EXECUTE nearest_statement(version, dim, within, condition, true) USING query, k, besides, many;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::uuid, NULL::double precision, NULL, NULL::jsonb, NULL, version,
            CASE WHEN only_ef IS NOT NULL AND many THEN 'hnsw' ELSE 'exact' END, only_ef, many AND only_ef IS NULL;
    END IF;
END $$;

-- The reader may call these, and these alone may read the tables: as their owner, with a path that no other role can put
-- anything into (pg_temp last, or a temporary table could stand in for one of ours).
CREATE FUNCTION umbel.nearest(query halfvec, k integer DEFAULT 10, collection text DEFAULT NULL)
RETURNS SETOF umbel.match LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 COST 10000 SET search_path FROM CURRENT
AS $$
SELECT m.image_id, m.distance, m.label, m.collection, m.metadata
FROM search_images(query, NULL, k, nearest.collection) m WHERE m.image_id IS NOT NULL
$$;
COMMENT ON FUNCTION umbel.nearest IS 'The k pictures nearest to a vector of the active model, nearest first';

CREATE FUNCTION umbel.similar_images(
    image_id uuid, k integer DEFAULT 10, max_distance real DEFAULT NULL, collection text DEFAULT NULL
) RETURNS SETOF umbel.match LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 COST 10000 SET search_path FROM CURRENT
AS $$
SELECT m.image_id, m.distance, m.label, m.collection, m.metadata
FROM search_images(NULL, similar_images.image_id, k, similar_images.collection) m
WHERE m.image_id IS NOT NULL AND (max_distance IS NULL OR m.distance::real <= max_distance)
$$;
COMMENT ON FUNCTION umbel.similar_images IS
    'The k pictures nearest to one of the gallery, itself left out, nearest first; none where it has no embedding';

REVOKE EXECUTE ON FUNCTION umbel.nearest, umbel.similar_images, search_images, nearest_statement,
    create_index_search, create_active_search, version_activated, exact_up_to, ef_search_for, job_count FROM PUBLIC;

CREATE TABLE recall_report (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    model_version_id uuid NOT NULL REFERENCES model_version ON DELETE CASCADE,
    k                integer NOT NULL,
    sample           integer NOT NULL,
    ef_search        integer NOT NULL,
    recall           double precision NOT NULL CHECK (recall BETWEEN 0 AND 1),
    index_ms         double precision NOT NULL,
    exact_ms         double precision NOT NULL,
    ef_for_95        integer,
    ef_for_99        integer,
    steps            jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
