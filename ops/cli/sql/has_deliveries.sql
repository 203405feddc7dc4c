SELECT to_regclass('adapter.delivery') IS NOT NULL;
