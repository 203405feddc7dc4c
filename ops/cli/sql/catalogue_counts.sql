SELECT (SELECT count(*) FROM catalog.anime WHERE deleted_at IS NULL),
       (SELECT count(*) FROM catalog.character_document WHERE NOT deleted),
       (SELECT count(*) FROM catalog.episode_document WHERE NOT deleted),
       (SELECT count(*) FROM catalog.pending_update),
       (SELECT count(*) FROM catalog.update_review WHERE state = 'pending');
