"""What bench-start compares with: canary-shift's clients in Python, up to the first request for an event.

It does less than Lambda's own Python runtime, which also looks for the handler and sets logging up.
"""

import http.client
import os

import boto3

SERVICES = ("dynamodb", "codepipeline", "cloudwatch", "elbv2", "s3", "ecs")

clients = [boto3.client(service) for service in SERVICES]

runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
runtime.request("GET", "/2018-06-01/runtime/invocation/next")
runtime.getresponse()
