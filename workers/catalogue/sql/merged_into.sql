-- Was this anime merged into another, and how does it stand?
SELECT revision, merged_into FROM anime WHERE id = $1::uuid AND merged_into IS NOT NULL;
