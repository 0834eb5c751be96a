'use strict';
// Proof of work for forms whose config asks for it: while the visitor types, a number is looked for with which the SHA-256 of "token:number"
// begins with as many zero bits as the form wants. Sending waits for it.

const K = [], H = [];
for (let n = 2, found = 0; found < 64; n++) { // the first 64 primes' cube and square roots: FIPS 180-4 4.2.2, 5.3.3
  let isPrime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) isPrime = false;
  if (!isPrime) continue;
  const fraction = (root) => ((root - Math.floor(root)) * 4294967296) | 0;
  K[found] = fraction(Math.cbrt(n));
  if (found < 8) H[found] = fraction(Math.sqrt(n));
  found++;
}

function sha256(text) {
  const size = text.length, blocks = ((size + 8) >> 6) + 1, words = new Int32Array(blocks * 16), w = new Int32Array(64);
  for (let i = 0; i < size; i++) words[i >> 2] |= text.charCodeAt(i) << (24 - 8 * (i & 3));
  words[size >> 2] |= 0x80 << (24 - 8 * (size & 3));
  words[blocks * 16 - 1] = size * 8;
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  const hash = H.slice();
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < 64; i++) {
      const a = w[i - 15], b = w[i - 2];
      w[i] = i < 16 ? words[block * 16 + i]
        : (w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10))) | 0;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => { hash[i] = (hash[i] + value) | 0; });
  }
  return hash;
}

function put(form, name, value) {
  let field = form.elements[name];
  if (!field) {
    field = document.createElement('input');
    field.type = 'hidden';
    field.name = name;
    form.append(field);
  }
  field.value = value;
}

const pause = () => new Promise((done) => setTimeout(done, 0));

async function prepare(form) {
  const { token, work } = await (await fetch(`${form.getAttribute('action').replace(/[?#].*/, '')}/token`)).json();
  let waiting = null, isDone = false;
  if (!work) return;
  form.addEventListener('submit', (event) => {
    if (isDone) return;
    event.preventDefault();
    waiting = { button: event.submitter };
  });
  for (let number = 0; !isDone; number++) {
    isDone = Math.clz32(sha256(`${token}:${number}`)[0]) >= work;
    if (isDone) put(form, 'mailroot-work', String(number));
    else if (number % 500 === 0) await pause();
  }
  put(form, 'mailroot-token', token);
  if (waiting) form.requestSubmit(waiting.button);
}

for (const form of document.querySelectorAll('form[action^="/forms/"]')) prepare(form);
