"""Certificates for nodes, made by the openssl program: a CA of one's own, as an operator who brings certificates would have it."""

import os
import subprocess

DAYS = "30"


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (" ".join(args[:2]), done.stderr))


class Authority:
    def __init__(self, directory, name):
        os.makedirs(directory, mode=0o700)
        self.dir = directory
        self.ca, self.ca_key = os.path.join(directory, "ca.pem"), os.path.join(directory, "ca.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.ca_key, "-out", self.ca,
                "-days", DAYS, "-subj", "/CN=%s CA" % name, "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, address, unit=None, days=DAYS):
        """Paths of CA, certificate and key of one node; of an administrator with unit "mha4rdb-admin". Negative days: expired."""
        cert, key, request, more = (os.path.join(self.dir, name + end) for end in (".pem", ".key", ".csr", ".cnf"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request,
                "-subj", ("/OU=" + unit if unit else "") + "/CN=" + name)
        with open(more, "w", encoding="utf-8") as f:
            f.write("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
                    "subjectAltName=DNS:%s,IP:%s\n" % (name, address))
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-out", cert, "-days", days,
                "-extfile", more)
        os.chmod(key, 0o600)
        return self.ca, cert, key
