"""Many posts of a form at once, over connections that stay open."""
import socket
import threading
import urllib.parse


def post_all(port, path, rows, connections=8):
    """Posts each of `rows` (dicts of fields), a share a connection; the indexes of those that were answered with 200."""
    thanked, lock = [], threading.Lock()

    def work(first):
        mine = []
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            answers = client.makefile("rb")
            for index in range(first, len(rows), connections):
                body = urllib.parse.urlencode(rows[index]).encode()
                client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                               b"Content-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body))
                status = int(answers.readline().split()[1])
                size = 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        size = int(line.split(b":")[1])
                answers.read(size)
                if status == 200:
                    mine.append(index)
        with lock:
            thanked.extend(mine)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(thanked)
