"""AWS over the standard library: credentials, SigV4 signatures, and a client that keeps sockets.

What makes boto3 slow to start is not AWS's protocol but the models it loads; the few operations
that the sidecar needs are a signed POST each. The tests hold this package against botocore.
"""
