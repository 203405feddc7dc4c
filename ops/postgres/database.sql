-- Who may connect to the database named by the psql variable `database`; run by the superuser or the
-- database's owner, repeatable.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO echora_catalogue, echora_relay, echora_deadletters, echora_adapter, echora_reader;
