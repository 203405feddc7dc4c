SELECT number, name, checksum FROM ops.migration ORDER BY number;
