"""Answers of contracts/examples/webhooks/receive.py (argument 1) to the cases on standard input, one line each."""
import base64
import importlib.util
import json
import sys

spec = importlib.util.spec_from_file_location("receive", sys.argv[1])
receive = importlib.util.module_from_spec(spec)
spec.loader.exec_module(receive)

for line in sys.stdin:
    case = json.loads(line)
    answer = "accepted"
    try:
        receive.verify(case["secrets"], case["headers"], base64.b64decode(case["body"]), case["now"])
    except receive.Refused as why:
        answer = str(why)
    except ValueError:
        answer = "configuration"
    print(answer)
