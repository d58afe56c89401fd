import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makePki, type Pki } from '../../test/make/pki.ts';
import { assertTlsMaterial, type Credentials } from './credentials.ts';

let folder: string;
let mine: Pki;
let other: Pki;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-pki-'));
  [mine, other] = [makePki(folder, 'mine'), makePki(folder, 'other')];
});
afterAll(() => rmSync(folder, { recursive: true }));

const check = (credentials: Credentials) => (): void => assertTlsMaterial(credentials, '/c: the CA', '/c: user "u"');

/** The same key with a passphrase. */
function encrypted(key: string): string {
  return execFileSync('openssl', ['pkey', '-aes256', '-passout', 'pass:x'], { input: key, stdio: 'pipe' }).toString();
}

test('matching material is accepted, and so is none at all', () => {
  expect(check(mine)).not.toThrow();
  expect(check({ ...mine, ca: `# a comment\n${other.ca}${mine.ca}` })).not.toThrow();
  expect(check({ token: 't' })).not.toThrow();
});

test.each<[string, () => Credentials, RegExp]>([
  ['a CA that is not a certificate', () => ({ ca: 'no PEM' }), /^\/c: the CA is not a certificate in PEM form$/],
  ['a truncated CA', () => ({ ca: mine.ca.slice(0, 200) }), /^\/c: the CA is not a certificate/],
  [
    'an invalid certificate',
    () => ({ ...mine, cert: mine.key }),
    /^\/c: user "u": client-certificate is not a certificate/,
  ],
  ['an invalid key', () => ({ ...mine, key: 'no PEM' }), /^\/c: user "u": client-key is not a key/],
  ['a key with a passphrase', () => ({ ...mine, key: encrypted(mine.key) }), /or has a passphrase/],
  [
    'the key of another certificate',
    () => ({ ...mine, key: other.key }),
    /client-key does not belong to client-certificate$/,
  ],
])('%s is one clear line', (_, credentials, words) => {
  expect(check(credentials())).toThrow(expect.objectContaining({ name: 'KubeConfigError' }));
  expect(check(credentials())).toThrow(words);
  expect(check(credentials())).not.toThrow(/\n/);
});
