-- Every entity as one canonical JSON document, as the wire's message has it.
--
-- Reason: the catalogue answers requests (catalog.anime.get and the like) with what is committed. Columns come
-- first and meta wins: it holds the value where a column can't (an enum number that this version does not know).
-- `deleted` of children is derived: an episode is gone while its anime is, a character while all its anime are.

CREATE VIEW catalog.anime_document AS
    SELECT a.id, a.revision, a.deleted_at IS NOT NULL AS deleted,
           jsonb_strip_nulls(jsonb_build_object(
               'id', a.id, 'entityType', 'ENTITY_TYPE_ANIME', 'title', a.title, 'titleEnglish', a.title_english,
               'titleJapanese', a.title_japanese, 'type', 'ANIME_TYPE_' || a.type,
               'status', 'ANIME_STATUS_' || a.status, 'rating', 'ANIME_RATING_' || a.rating,
               'season', 'ANIME_SEASON_' || a.season,
               'sourceMaterial', 'SOURCE_MATERIAL_TYPE_' || a.source_material, 'year', a.year, 'month', a.month,
               'episodeCount', a.episode_count, 'duration', a.duration_seconds, 'nsfw', a.nsfw,
               'synopsis', a.synopsis, 'background', a.background)) || a.meta AS document
      FROM catalog.anime a;

CREATE VIEW catalog.character_document AS
    SELECT c.id, c.revision,
           EXISTS (SELECT FROM catalog.anime_character ac WHERE ac.character_id = c.id)
               AND NOT EXISTS (SELECT FROM catalog.anime_character ac JOIN catalog.anime a ON a.id = ac.anime_id
                                WHERE ac.character_id = c.id AND a.deleted_at IS NULL) AS deleted,
           jsonb_strip_nulls(jsonb_build_object(
               'id', c.id, 'entityType', 'ENTITY_TYPE_CHARACTER', 'name', c.name, 'nameNative', c.name_native,
               'description', c.description, 'favorites', c.favourites::text)) || c.meta AS document,
           (SELECT string_agg(ac.anime_id::text, ',' ORDER BY ac.anime_id)
              FROM catalog.anime_character ac WHERE ac.character_id = c.id) AS anime_ids
      FROM catalog.character c;

CREATE VIEW catalog.episode_document AS
    SELECT e.id, e.revision,
           EXISTS (SELECT FROM catalog.anime a WHERE a.id = e.anime_id AND a.deleted_at IS NOT NULL) AS deleted,
           jsonb_strip_nulls(jsonb_build_object(
               'id', e.id, 'animeId', e.anime_id, 'entityType', 'ENTITY_TYPE_EPISODE',
               'episodeNumber', e.episode_number, 'seasonNumber', e.season_number, 'title', e.title,
               'titleJapanese', e.title_japanese, 'titleRomaji', e.title_romaji, 'synopsis', e.synopsis,
               'description', e.description, 'duration', e.duration_seconds, 'filler', e.filler,
               'recap', e.recap, 'score', e.score)) || e.meta AS document,
           e.anime_id::text AS anime_ids
      FROM catalog.episode e;

GRANT SELECT ON catalog.anime_document, catalog.character_document, catalog.episode_document TO echora_catalogue;
