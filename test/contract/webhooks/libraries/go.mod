module example.org/webhook-libraries

go 1.23.0

require github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
