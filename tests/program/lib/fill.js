// Opens pages in Chromium, fills every field of every form that posts to the gateway, sends it as a visitor would.
//   node fill.js CHROMIUM URL…   prints [{"page": URL, "number": of the form, "fields": {name: value}, "status": …, "text": …}]
'use strict';
const { chromium } = require('playwright-core');

const [executablePath, ...urls] = process.argv.slice(2);

function fill(form) {
  const typed = {};
  const isFilled = (field) => field.name && field.name !== 'VTI-GROUP' && !field.disabled;
  let number = 0;
  for (const field of [...form.elements].filter(isFilled)) {
    number++;
    if (field.type === 'hidden') { typed[field.name] = field.value; continue; }
    if (field.type === 'submit') { typed[field.name] = field.value; continue; }
    if (['button', 'reset', 'image', 'file'].includes(field.type)) continue;
    if (field.type === 'checkbox' || field.type === 'radio') {
      field.checked = true;
      typed[field.name] = field.value;
    } else if (field.tagName === 'SELECT') {
      field.selectedIndex = field.options.length - 1;
      typed[field.name] = field.value;
    } else {
      let before = field.previousSibling;
      while (before && !(before.nodeType === 8 && /webbot/i.test(before.data))) before = before.previousSibling;
      const bot = before && before.data.match(/bot="?Validation/i) ? before.data : '';
      const isNumber = /data-type="?(number|integer)/i.test(bot) || field.size < 12;
      let value = /1968/.test(bot) || field.name === 'enquirypass' ? '1969' : isNumber ? String(number) : 'Zo\u00eb ' + number;
      if (/mail/i.test(field.name)) value = `visitor${number}@example.test`;
      field.value = field.tagName === 'TEXTAREA' ? value + '\nsecond line' : value;
      typed[field.name] = field.value;
    }
  }
  return typed;
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  await page.route(/^(?!http:\/\/127\.0\.0\.1)/, (route) => route.abort());
  page.on('dialog', (dialog) => { process.stderr.write(dialog.message() + '\n'); dialog.dismiss(); });
  const sent = [];
  for (const url of urls) {
    for (let number = 0, count = 1; number < count; number++) {
      await page.goto(url, { waitUntil: 'domcontentloaded' });
      const forms = await page.$$('form[action^="/_vti_bin/shtml.dll/"]');
      count = forms.length;
      const fields = await forms[number].evaluate(fill);
      const answered = page.waitForNavigation({ waitUntil: 'domcontentloaded' });
      const button = await forms[number].$('input[type=submit], button[type=submit]');
      if (button) await button.evaluate((element) => element.click());
      else await forms[number].evaluate((element) => element.requestSubmit());
      sent.push({ page: url, number, fields, status: (await answered).status(), text: await page.textContent('body') });
    }
  }
  console.log(JSON.stringify(sent));
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
