module example.org/receive

go 1.23.0
