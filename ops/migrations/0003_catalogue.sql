-- The catalogue: entities, what they are known by, and how they hang together.
--
-- Reason: first schema of the catalogue writer (flows A1 to A3).
--
-- How an entity is kept. Columns hold the fields that people and filters ask for; `meta` holds every other
-- domain field as canonical proto3 JSON, so that columns and meta together give the message back exactly.
-- Where a column can't hold the wire's value (nanoseconds, an enum number that is not listed) meta holds it
-- and the column is its readable projection. `clock_time`, `clock_event` is the event that set the fields;
-- `clocks` lists the fields that another event set, as "<microseconds>:<event id>", "@exists" being the
-- entity's existence. A field that is empty and not listed was never set.
--
-- The hot tables carry no foreign keys between themselves: this schema has one writer, which locks the rows
-- it depends on, never removes an entity's row, and would pay a look-up per reference of each import.

CREATE SEQUENCE catalog.revision_seq;
COMMENT ON SEQUENCE catalog.revision_seq IS 'one for all kinds: rises with every committed change, never reused';

-- Timestamps in meta are RFC 3339 in UTC, so the cast depends on no setting and may be called immutable.
CREATE FUNCTION catalog.rfc3339(text) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT $1::timestamptz';

-- Lookup tables instead of CHECK lists: a new value is one INSERT. Values are the wire's enum names without
-- their prefix; UNKNOWN also stands for a number that this version does not know.
CREATE TABLE catalog.anime_type (value text PRIMARY KEY);
CREATE TABLE catalog.anime_status (value text PRIMARY KEY);
CREATE TABLE catalog.anime_rating (value text PRIMARY KEY);
CREATE TABLE catalog.anime_season (value text PRIMARY KEY);
CREATE TABLE catalog.source_material_type (value text PRIMARY KEY);
CREATE TABLE catalog.character_role (value text PRIMARY KEY);
CREATE TABLE catalog.company_role (value text PRIMARY KEY);
CREATE TABLE catalog.anime_relation_type (value text PRIMARY KEY);
CREATE TABLE catalog.source_material_relation_type (value text PRIMARY KEY);

INSERT INTO catalog.anime_type VALUES ('UNSPECIFIED'), ('MOVIE'), ('ONA'), ('OVA'), ('SPECIAL'), ('TV'),
    ('UNKNOWN'), ('MUSIC'), ('PV'), ('TV_SPECIAL'), ('TV_SHORT'), ('CM');
INSERT INTO catalog.anime_status VALUES ('UNSPECIFIED'), ('FINISHED'), ('UPCOMING'), ('ONGOING'), ('UNKNOWN'),
    ('CANCELLED');
INSERT INTO catalog.anime_rating VALUES ('UNSPECIFIED'), ('G'), ('PG'), ('PG13'), ('R'), ('RPLUS'), ('RX'),
    ('UNKNOWN');
INSERT INTO catalog.anime_season VALUES ('UNSPECIFIED'), ('SPRING'), ('SUMMER'), ('FALL'), ('WINTER'),
    ('UNKNOWN');
INSERT INTO catalog.source_material_type VALUES ('UNSPECIFIED'), ('ORIGINAL'), ('MANGA'), ('LIGHT_NOVEL'),
    ('VISUAL_NOVEL'), ('GAME'), ('WEB_MANGA'), ('WEB_NOVEL'), ('NOVEL'), ('ONE_SHOT'), ('DOUJINSHI'),
    ('KOMA_4'), ('MIXED_MEDIA'), ('MUSIC'), ('RADIO'), ('BOOK'), ('PICTURE_BOOK'), ('CARD_GAME'), ('OTHER'),
    ('UNKNOWN'), ('MANHWA'), ('MANHUA'), ('COMIC'), ('LIVE_ACTION'), ('ILLUSTRATION'), ('WESTERN_MEDIA');
INSERT INTO catalog.character_role VALUES ('UNSPECIFIED'), ('MAIN'), ('SUPPORTING'), ('BACKGROUND'), ('UNKNOWN');
INSERT INTO catalog.company_role VALUES ('studio'), ('producer'), ('licensor');
INSERT INTO catalog.anime_relation_type VALUES ('UNSPECIFIED'), ('ADAPTATION'), ('ALTERNATIVE_VERSION'),
    ('ALTERNATIVE_SETTING'), ('CHARACTER'), ('CROSSOVER'), ('FULL_STORY'), ('OTHER'), ('PARENT_STORY'),
    ('PREQUEL'), ('SEQUEL'), ('SIDE_STORY'), ('SPIN_OFF'), ('SUMMARY');
INSERT INTO catalog.source_material_relation_type VALUES ('UNSPECIFIED'), ('ADAPTATION'), ('SOURCE'),
    ('SPIN_OFF'), ('ALTERNATIVE'), ('OTHER');

CREATE TABLE catalog.anime (
    id              uuid PRIMARY KEY,
    title           text NOT NULL DEFAULT '',
    title_english   text,
    title_japanese  text,
    type            text NOT NULL DEFAULT 'UNSPECIFIED' REFERENCES catalog.anime_type,
    status          text NOT NULL DEFAULT 'UNSPECIFIED' REFERENCES catalog.anime_status,
    rating          text REFERENCES catalog.anime_rating,
    season          text REFERENCES catalog.anime_season,
    source_material text REFERENCES catalog.source_material_type,
    year            int,
    month           text,
    episode_count   int NOT NULL DEFAULT 0,
    episode_rows    int NOT NULL DEFAULT 0,
    duration_seconds int,
    nsfw            boolean,
    synopsis        text,
    background      text,
    meta            jsonb NOT NULL DEFAULT '{}',
    score_agm       real GENERATED ALWAYS AS ((meta -> 'score' ->> 'arithmeticGeometricMean')::real) STORED,
    score_mean      real GENERATED ALWAYS AS ((meta -> 'score' ->> 'arithmeticMean')::real) STORED,
    score_median    real GENERATED ALWAYS AS ((meta -> 'score' ->> 'median')::real) STORED,
    aired_from      timestamptz GENERATED ALWAYS AS (catalog.rfc3339(meta -> 'airedDates' ->> 'airedFrom')) STORED,
    aired_to        timestamptz GENERATED ALWAYS AS (catalog.rfc3339(meta -> 'airedDates' ->> 'airedTo')) STORED,
    deleted_at      timestamptz,
    merged_into     uuid,
    revision        bigint NOT NULL,
    clock_time      timestamptz NOT NULL,
    clock_event     uuid NOT NULL,
    clocks          jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN catalog.anime.episode_count IS 'as published; search documents carry the greater of this and episode_rows';
COMMENT ON COLUMN catalog.anime.episode_rows IS 'how many rows of catalog.episode there are';
COMMENT ON COLUMN catalog.anime.deleted_at IS 'hidden since; the row and its clocks live on';
COMMENT ON COLUMN catalog.anime.merged_into IS 'who took over id and references on deletion; the id is an alias of that anime';

CREATE TABLE catalog.character (
    id              uuid PRIMARY KEY,
    name            text NOT NULL DEFAULT '',
    name_native     text,
    description     text,
    favourites      bigint,
    meta            jsonb NOT NULL DEFAULT '{}',
    revision        bigint NOT NULL,
    clock_time      timestamptz NOT NULL,
    clock_event     uuid NOT NULL,
    clocks          jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalog.episode (
    id              uuid PRIMARY KEY,
    anime_id        uuid NOT NULL,
    episode_number  int NOT NULL,
    season_number   int,
    title           text NOT NULL DEFAULT '',
    title_japanese  text,
    title_romaji    text,
    synopsis        text,
    description     text,
    duration_seconds int,
    filler          boolean NOT NULL DEFAULT false,
    recap           boolean NOT NULL DEFAULT false,
    score           real,
    meta            jsonb NOT NULL DEFAULT '{}',
    aired_at        timestamptz GENERATED ALWAYS AS (catalog.rfc3339(meta ->> 'aired')) STORED,
    revision        bigint NOT NULL,
    clock_time      timestamptz NOT NULL,
    clock_event     uuid NOT NULL,
    clocks          jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (anime_id, episode_number)
);

-- Known only through anime that name them; the newest event that names one says what it is called.
CREATE TABLE catalog.company (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    description     text,
    clock_time      timestamptz NOT NULL,
    clock_event     uuid NOT NULL
);
CREATE TABLE catalog.source_material (
    id              uuid PRIMARY KEY,
    title           text NOT NULL,
    type            text NOT NULL REFERENCES catalog.source_material_type,
    clock_time      timestamptz NOT NULL,
    clock_event     uuid NOT NULL
);

-- Other ids that an entity answers to. A reference that two events bring under two ids makes one of them an alias.
CREATE TABLE catalog.entity_alias (
    alias_id        uuid PRIMARY KEY,
    entity_kind     text NOT NULL,
    entity_id       uuid NOT NULL
);
CREATE INDEX entity_alias_entity ON catalog.entity_alias (entity_id);

-- References: <provider>:<kind>:<id>, else url:<host><path> (contracts/hosts.csv). One owner each, kept for good.
CREATE TABLE catalog.anime_xref (
    ref             text COLLATE "C" PRIMARY KEY,
    anime_id        uuid NOT NULL,
    source          text GENERATED ALWAYS AS (split_part(ref, ':', 1)) STORED
);
CREATE INDEX anime_xref_anime ON catalog.anime_xref (anime_id);
CREATE TABLE catalog.character_xref (
    ref             text COLLATE "C" PRIMARY KEY,
    character_id    uuid NOT NULL,
    source          text GENERATED ALWAYS AS (split_part(ref, ':', 1)) STORED
);
CREATE INDEX character_xref_character ON catalog.character_xref (character_id);
CREATE TABLE catalog.episode_xref (
    ref             text COLLATE "C" PRIMARY KEY,
    episode_id      uuid NOT NULL,
    source          text GENERATED ALWAYS AS (split_part(ref, ':', 1)) STORED
);
CREATE INDEX episode_xref_episode ON catalog.episode_xref (episode_id);
CREATE TABLE catalog.company_xref (
    ref             text COLLATE "C" PRIMARY KEY,
    company_id      uuid NOT NULL
);
CREATE TABLE catalog.source_material_xref (
    ref                text COLLATE "C" PRIMARY KEY,
    source_material_id uuid NOT NULL
);

CREATE TABLE catalog.anime_character (
    anime_id        uuid NOT NULL,
    character_id    uuid NOT NULL,
    role            text NOT NULL REFERENCES catalog.character_role,
    billing_order   int NOT NULL,
    clock_time      timestamptz NOT NULL,
    clock_event     uuid NOT NULL,
    PRIMARY KEY (anime_id, character_id)
);
CREATE INDEX anime_character_character ON catalog.anime_character (character_id);

-- What an anime's own events said. One row per key and reference; to_id is filled when the reference has an
-- owner. A relation that names no reference stays in meta alone.
CREATE TABLE catalog.anime_relation (
    from_id         uuid NOT NULL,
    key             text COLLATE "C" NOT NULL,
    ref             text COLLATE "C" NOT NULL,
    type            text NOT NULL,
    to_id           uuid,
    PRIMARY KEY (from_id, key, ref)
) WITH (fillfactor = 80);
-- No index mentions to_id, so that resolving is an update in place (HOT).
CREATE INDEX anime_relation_ref ON catalog.anime_relation (ref);
COMMENT ON COLUMN catalog.anime_relation.type IS 'one of anime_relation_type; no foreign key, it is the hottest insert of an import';
COMMENT ON COLUMN catalog.anime_relation.key IS 'the key of related_anime as published';

CREATE TABLE catalog.anime_source_material_relation (
    anime_id           uuid NOT NULL,
    key                text COLLATE "C" NOT NULL,
    ref                text COLLATE "C" NOT NULL,
    type               text NOT NULL REFERENCES catalog.source_material_relation_type,
    source_material_id uuid,
    PRIMARY KEY (anime_id, key, ref)
);
CREATE INDEX anime_source_material_relation_ref ON catalog.anime_source_material_relation (ref);

-- A company is matched by URL alone: a name without one has a row without company.
CREATE TABLE catalog.anime_company (
    anime_id        uuid NOT NULL,
    role            text NOT NULL REFERENCES catalog.company_role,
    position        int NOT NULL,
    name            text NOT NULL,
    company_id      uuid,
    PRIMARY KEY (anime_id, role, position)
);

-- What each statement of an anime becomes in the graph: its edge, and the edge that goes back (NULL = none).
CREATE TABLE catalog.edge_type (
    family          text NOT NULL,
    assertion       text NOT NULL,
    edge            text NOT NULL,
    inverse         text,
    PRIMARY KEY (family, assertion)
);
INSERT INTO catalog.edge_type (family, assertion, edge, inverse) VALUES
    ('relation', 'UNSPECIFIED', 'related', 'related'),
    ('relation', 'ADAPTATION', 'adaptation', NULL),
    ('relation', 'ALTERNATIVE_VERSION', 'alternative_version', 'alternative_version'),
    ('relation', 'ALTERNATIVE_SETTING', 'alternative_setting', 'alternative_setting'),
    ('relation', 'CHARACTER', 'character', NULL),
    ('relation', 'CROSSOVER', 'crossover', 'crossover'),
    ('relation', 'FULL_STORY', 'full_story', 'summary'),
    ('relation', 'OTHER', 'other', NULL),
    ('relation', 'PARENT_STORY', 'parent_story', 'side_story'),
    ('relation', 'PREQUEL', 'prequel', 'sequel'),
    ('relation', 'SEQUEL', 'sequel', 'prequel'),
    ('relation', 'SIDE_STORY', 'side_story', 'parent_story'),
    ('relation', 'SPIN_OFF', 'spin_off', NULL),
    ('relation', 'SUMMARY', 'summary', 'full_story'),
    ('material', 'UNSPECIFIED', 'adapted_from', 'was_adapted_to'),
    ('material', 'ADAPTATION', 'adapted_from', 'was_adapted_to'),
    ('material', 'SOURCE', 'adapted_from', 'was_adapted_to'),
    ('material', 'SPIN_OFF', 'related_material', 'related_material'),
    ('material', 'ALTERNATIVE', 'related_material', 'related_material'),
    ('material', 'OTHER', 'related_material', 'related_material'),
    ('company', 'studio', 'studio', 'produced'),
    ('company', 'producer', 'producer', 'produced'),
    ('company', 'licensor', 'licensor', 'produced'),
    ('cast', 'features', 'features', 'appears_in');

-- A projection for traversal, written with the rows above. Both directions stand here; asserted_by is the anime
-- whose events said it. Edges of hidden anime stay: whoever walks them looks at deleted_at.
CREATE TABLE catalog.graph_edge (
    from_id         uuid NOT NULL,
    from_type       text NOT NULL,
    edge_type       text NOT NULL,
    to_id           uuid NOT NULL,
    to_type         text NOT NULL,
    asserted_by     uuid NOT NULL,
    family          text NOT NULL,
    PRIMARY KEY (from_id, edge_type, to_id, asserted_by)
);
CREATE INDEX graph_edge_asserted_by ON catalog.graph_edge (asserted_by, family);

-- Views of lists in meta: always exact, nothing to keep in step.
CREATE VIEW catalog.anime_image AS
    SELECT a.id AS anime_id, k.kind, (u.position - 1)::int AS position, u.url
      FROM catalog.anime a,
           LATERAL (VALUES ('cover', a.meta -> 'images' -> 'covers'), ('poster', a.meta -> 'images' -> 'posters'),
                           ('banner', a.meta -> 'images' -> 'banners')) AS k(kind, urls),
           LATERAL jsonb_array_elements_text(k.urls) WITH ORDINALITY AS u(url, position);
CREATE VIEW catalog.character_image AS
    SELECT c.id AS character_id, (u.position - 1)::int AS position, u.url
      FROM catalog.character c, LATERAL jsonb_array_elements_text(c.meta -> 'images') WITH ORDINALITY AS u(url, position);
CREATE VIEW catalog.episode_image AS
    SELECT e.id AS episode_id, (u.position - 1)::int AS position, u.url
      FROM catalog.episode e, LATERAL jsonb_array_elements_text(e.meta -> 'images') WITH ORDINALITY AS u(url, position);
CREATE VIEW catalog.character_alias AS
    SELECT c.id AS character_id, k.kind, n.name
      FROM catalog.character c,
           LATERAL (VALUES ('variation', c.meta -> 'nameVariations'), ('nickname', c.meta -> 'nicknames')) AS k(kind, names),
           LATERAL jsonb_array_elements_text(k.names) AS n(name);
CREATE VIEW catalog.anime_broadcast AS
    SELECT a.id AS anime_id, b.day, b.time, b.timezone, b."jpTime" AS jp_time, b."subTime" AS sub_time,
           b."dubTime" AS dub_time, b."subDelayDays" AS sub_delay_days, b."dubDelayDays" AS dub_delay_days,
           b."premiereJp" AS premiere_jp, b."premiereSub" AS premiere_sub, b."premiereDub" AS premiere_dub,
           b."nextEpisodeAt" AS next_episode_at
      FROM catalog.anime a,
           LATERAL jsonb_to_record(a.meta -> 'broadcast') AS b(
               day text, "time" text, timezone text, "jpTime" text, "subTime" text, "dubTime" text,
               "subDelayDays" int, "dubDelayDays" int, "premiereJp" timestamptz, "premiereSub" timestamptz,
               "premiereDub" timestamptz, "nextEpisodeAt" timestamptz)
     WHERE a.meta ? 'broadcast';
CREATE VIEW catalog.anime_hiatus AS
    SELECT a.id AS anime_id, a.meta -> 'hiatus' ->> 'reason' AS reason,
           a.meta -> 'hiatus' ->> 'hiatusFrom' AS hiatus_from, a.meta -> 'hiatus' ->> 'hiatusUntil' AS hiatus_until
      FROM catalog.anime a WHERE a.meta ? 'hiatus';
CREATE VIEW catalog.episode_airing AS
    SELECT e.id AS episode_id, e.anime_id, e.episode_number, e.aired_at
      FROM catalog.episode e WHERE e.aired_at IS NOT NULL;

GRANT USAGE, SELECT ON SEQUENCE catalog.revision_seq TO echora_catalogue;
GRANT EXECUTE ON FUNCTION catalog.rfc3339(text) TO echora_catalogue, echora_reader;
GRANT SELECT ON catalog.anime_type, catalog.anime_status, catalog.anime_rating, catalog.anime_season,
    catalog.source_material_type, catalog.character_role, catalog.company_role, catalog.anime_relation_type,
    catalog.source_material_relation_type, catalog.edge_type TO echora_catalogue;
-- The writer hides and never removes entities; it replaces what hangs on them.
GRANT SELECT, INSERT, UPDATE ON catalog.anime, catalog.character, catalog.episode, catalog.company,
    catalog.source_material, catalog.entity_alias TO echora_catalogue;
GRANT SELECT, INSERT, UPDATE, DELETE ON catalog.anime_xref, catalog.character_xref, catalog.episode_xref,
    catalog.company_xref, catalog.source_material_xref, catalog.anime_character, catalog.anime_relation,
    catalog.anime_source_material_relation, catalog.anime_company, catalog.graph_edge TO echora_catalogue;
GRANT SELECT ON catalog.anime_image, catalog.character_image, catalog.episode_image, catalog.character_alias,
    catalog.anime_broadcast, catalog.anime_hiatus, catalog.episode_airing TO echora_catalogue;
