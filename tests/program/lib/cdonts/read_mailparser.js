// Reads messages with npm's mailparser, found through NODE_PATH; a JSON line each.
const fs = require('fs');
const path = require('path');
const { simpleParser } = require('mailparser');
const libmime = require('libmime'); // mailparser decodes only the headers that it knows

const addresses = (found) => (found ? found.value.map((one) => [one.name, one.address]) : []);

async function main() {
    for (const name of process.argv.slice(2)) {
        const mail = await simpleParser(fs.readFileSync(name), { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
        const header = mail.headers.get('x-test');
        console.log(JSON.stringify({
            file: path.basename(name), from: addresses(mail.from), to: addresses(mail.to), subject: mail.subject ?? null,
            header: header == null ? null : libmime.decodeWords(header), text: mail.text ?? null, html: mail.html || null,
            attachments: mail.attachments.map((one) => [one.filename ?? null, one.content.toString('base64')]),
        }));
    }
}
main().catch((error) => { console.error(error); process.exit(1); });
