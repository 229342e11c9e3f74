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

-- The statement, for the planner: only a literal version prunes to its partition, only a literal width is the expression
-- of its index, and adding zero keeps the index out of an exact scan, and its rough order from being taken for sorted
-- (as in umbel/search/nearest.py).
CREATE FUNCTION nearest_statement(version uuid, dim integer, within uuid, besides uuid, exact boolean) RETURNS text
LANGUAGE sql STABLE AS $$
SELECT format(
    'SELECT array_agg(image_id ORDER BY distance + 0, image_id), array_agg(distance ORDER BY distance + 0, image_id) '
    'FROM (SELECT image_id, vector::halfvec(%1$s) <=> $1::halfvec(%1$s) AS distance FROM embedding '
    'WHERE model_version_id = %2$L%3$s%4$s '
    'ORDER BY (vector::halfvec(%1$s) <=> $1::halfvec(%1$s))%5$s LIMIT $2) taken',
    dim, version,
    CASE WHEN within IS NOT NULL THEN format(' AND collection_id = %L', within) ELSE
         ' AND collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))' END,
    CASE WHEN besides IS NOT NULL THEN format(' AND image_id <> %L', besides) END,
    CASE WHEN exact THEN ' + 0, image_id' END)
$$;

-- How far to follow the index, in tuples; null where a scan is better: as umbel/search/nearest.py decides it.
CREATE FUNCTION index_reach(version uuid, dim integer, within uuid) RETURNS integer
LANGUAGE plpgsql STABLE AS $$
DECLARE
    partition CONSTANT text := 'embedding_' || replace(version::text, '-', '');
    images CONSTANT bigint := pg_relation_size(to_regclass(partition)) / (2 * dim + 72);
    many boolean := images > 10000;
BEGIN
    IF many AND within IS NOT NULL THEN
        EXECUTE format('SELECT count(*) > 10000 FROM (SELECT FROM embedding WHERE model_version_id = %L '
                       'AND collection_id = %L LIMIT 10001) candidate', version, within) INTO many;
    END IF;
    RETURN (SELECT greatest(2000, images / 50) FROM pg_index
            WHERE indexrelid = to_regclass(partition || '_hnsw') AND indisvalid AND many);
END $$;

-- Sets what the API's search sets, and brings the caller's values back (an error does so by itself). No SET clause does
-- that here: a dump with one for hnsw.… could only be restored by a superuser, as pgvector may not be loaded then.
CREATE FUNCTION nearest_through_index(
    statement text, query halfvec, k integer, reach integer, OUT ids uuid[], OUT distances double precision[]
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    names CONSTANT text[] := ARRAY['hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples', 'enable_seqscan',
        'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_sort'];
    values CONSTANT text[] := ARRAY['relaxed_order', least(1000, greatest(100, 2 * k))::text, reach::text, 'off',
        'off', 'off', 'off', 'off'];
    before CONSTANT text[] := ARRAY(
        SELECT current_setting(name) FROM unnest(names) WITH ORDINALITY setting(name, place) ORDER BY place);
BEGIN
    PERFORM set_config(name, value, true) FROM unnest(names, values) setting(name, value);
    EXECUTE statement INTO ids, distances USING query, k;
    PERFORM set_config(name, value, true) FROM unnest(names, before) setting(name, value);
    RAISE DEBUG 'found % of % through the HNSW index', coalesce(cardinality(ids), 0), k;
END $$;

-- STABLE: the version that is active, its vectors and the caller's own query are of one snapshot.
CREATE FUNCTION nearest_images(
    query halfvec, k integer, max_distance real, collection_name text, besides uuid
) RETURNS SETOF umbel.match LANGUAGE plpgsql STABLE AS $$
DECLARE
    version uuid; dim integer; within uuid; reach integer; ids uuid[]; distances double precision[];
BEGIN
    SELECT v.id, v.dim INTO version, dim FROM model_version v WHERE v.state = 'active';
    IF version IS NULL THEN
        RAISE 'no model is active yet' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'A worker registers one when it first starts.';
    END IF;
    PERFORM check_nearest(query, dim, k);
    IF collection_name IS NOT NULL THEN
        SELECT c.id INTO within FROM collection c WHERE c.name = collection_name AND c.deleted_at IS NULL;
        IF within IS NULL THEN
            RAISE 'there is no collection %', quote_literal(collection_name) USING ERRCODE = 'undefined_object',
                HINT = 'SELECT DISTINCT collection FROM umbel.images lists those that hold pictures.';
        END IF;
    END IF;
    IF query IS NULL THEN
        RETURN;
    END IF;
    reach := index_reach(version, dim, within);
    IF reach IS NOT NULL THEN
        SELECT * INTO ids, distances FROM nearest_through_index(
            nearest_statement(version, dim, within, besides, false), query, k, reach);
    END IF;
    IF ids IS NULL OR cardinality(ids) < k THEN
        EXECUTE nearest_statement(version, dim, within, besides, true) INTO ids, distances USING query, k;
        RAISE DEBUG 'found % of % by an exact scan', coalesce(cardinality(ids), 0), k;
    END IF;
    RETURN QUERY
        SELECT i.id, greatest(0, near.distance), i.label, c.name, i.metadata
        FROM unnest(ids, distances) near(image_id, distance)
        JOIN image i ON i.id = near.image_id JOIN collection c ON c.id = i.collection_id
        WHERE max_distance IS NULL OR near.distance::real <= max_distance
        ORDER BY near.distance, near.image_id;
END $$;

CREATE FUNCTION check_nearest(query halfvec, dim integer, k integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF k IS NULL OR k NOT BETWEEN 1 AND 1000 THEN
        RAISE 'k must be 1 to 1000, not %', coalesce(k::text, 'null') USING ERRCODE = 'invalid_parameter_value';
    ELSIF vector_dims(query) <> dim THEN
        RAISE 'the query has % numbers, the active model''s vectors have %', vector_dims(query), dim
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF l2_norm(query) = 0 THEN
        RAISE 'the query is the zero vector, which is near to nothing' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- The reader may call these, and these alone may read the tables: as their owner, with a path that nobody else can put
-- anything into (pg_temp last, or a temporary table could stand in for one of ours).
CREATE FUNCTION umbel.nearest(query halfvec, k integer DEFAULT 10, collection text DEFAULT NULL)
RETURNS SETOF umbel.match LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 COST 10000 SET search_path FROM CURRENT
AS $$ SELECT * FROM nearest_images(query, k, NULL, collection, NULL) $$;
COMMENT ON FUNCTION umbel.nearest IS 'The k pictures nearest to a vector of the active model, nearest first';

CREATE FUNCTION umbel.similar_images(
    image_id uuid, k integer DEFAULT 10, max_distance real DEFAULT NULL, collection text DEFAULT NULL
) RETURNS SETOF umbel.match LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 COST 10000 SET search_path FROM CURRENT
AS $$
SELECT * FROM nearest_images(
    (SELECT e.vector FROM umbel.embeddings e WHERE e.image_id = similar_images.image_id),
    k, max_distance, collection, image_id)
$$;
COMMENT ON FUNCTION umbel.similar_images IS
    'The k pictures nearest to one of the gallery, itself left out, nearest first; none where it has no embedding';

REVOKE EXECUTE ON FUNCTION umbel.nearest, umbel.similar_images, nearest_images, nearest_statement,
    nearest_through_index, index_reach, check_nearest, job_count FROM PUBLIC;

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
