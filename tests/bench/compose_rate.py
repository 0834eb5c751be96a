"""compose: messages a second of one core's time that libcdonts composes (4 KiB of text with umlauts, a file of 20 KB), and GMime and Python's
email package for the same message."""
import email.message
import email.policy
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
SUBJECT = "Grüße, heute mit einer Betreffzeile, die länger als eine Zeile ist"


def python_rate(text, file, rounds):
    started = time.process_time()
    for _ in range(rounds):
        message = email.message.EmailMessage(policy=email.policy.SMTP)
        message["From"], message["To"], message["Subject"] = "Zoë König <zoe@example.test>", "Ann <ann@example.test>", SUBJECT
        message.set_content(text, cte="quoted-printable")
        message.add_attachment(file, maintype="application", subtype="octet-stream", filename="Prüfung.bin")
        size = len(message.as_bytes())
    return rounds / (time.process_time() - started), size


def compose_rate(library, folder, rounds):
    """`library`: the folder of libcdonts.so."""
    text, file = folder / "text", folder / "file"
    text.write_text("Eine Zeile mit Umlauten: äöüß, und noch einige Wörter dazu.\r\n" * 64)
    file.write_bytes(bytes(range(256)) * 80)
    source = HERE.parents[1] / "src" / "cdonts"
    subprocess.run(["cc", "-O2", "-o", folder / "compose_cdonts", HERE / "compose_cdonts.c", f"-I{source}", f"-L{library}", "-lcdonts",
                    f"-Wl,-rpath,{library}"], check=True)
    rates = {}
    programs = {"libcdonts": folder / "compose_cdonts"}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gmime-3.0"], capture_output=True, text=True, check=False)
    if flags.returncode == 0:
        subprocess.run(["cc", "-O2", "-o", folder / "compose_gmime", HERE / "compose_gmime.c", *flags.stdout.split()], check=True)
        programs["gmime"] = folder / "compose_gmime"
    for name, program in programs.items():
        out = subprocess.run([program, str(rounds), text, file], check=True, capture_output=True, text=True).stdout.split()
        rates[name], size = float(out[0]), int(out[1])
        assert size > 28000, (name, size)
    rates["python"], _ = python_rate(text.read_text(), file.read_bytes(), max(20, rounds // 50))
    result = {name: round(rate) for name, rate in rates.items()}
    for name in ("gmime", "python"):
        if name in rates:
            result[f"times_{name}"] = round(rates["libcdonts"] / rates[name], 1)
    return result
