// Answers of the published library standard-webhooks (Go) to the calls on standard input, one line each.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func verify(line []byte) error {
	var call struct {
		Secrets []string
		Headers [][2]string
		Body    []byte
	}
	if err := json.Unmarshal(line, &call); err != nil {
		return err
	}
	header := http.Header{}
	for _, pair := range call.Headers {
		header.Add(pair[0], pair[1])
	}
	webhook, err := standardwebhooks.NewWebhook(call.Secrets[0])
	if err != nil {
		return err
	}
	return webhook.Verify(call.Body, header)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := verify(lines.Bytes()); err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("accepted")
		}
	}
}
