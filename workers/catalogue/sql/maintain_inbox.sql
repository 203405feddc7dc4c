SELECT inbox_maintain($1::int);
