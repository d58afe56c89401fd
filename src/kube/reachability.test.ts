import { expect, test } from 'vitest';
import { failure } from './answers.ts';
import { noAnswer } from './reachability.ts';

const error = (code: string, fields: object = {}): Error =>
  Object.assign(new Error(`library words: ${code}`), { code, ...fields });

test.each<[string, unknown, string, string]>([
  [
    'a host without an address',
    error('ENOTFOUND', { hostname: 'api.example' }),
    'UNREACHABLE',
    'cannot resolve host api.example',
  ],
  [
    'a DNS server that does not answer',
    error('EAI_AGAIN', { hostname: 'api.example' }),
    'UNREACHABLE',
    'cannot resolve host api.example',
  ],
  [
    'a port without a listener',
    error('ECONNREFUSED', { address: '192.0.2.2', port: 6443 }),
    'UNREACHABLE',
    'connection refused by 192.0.2.2:6443',
  ],
  [
    'a network without a route',
    error('EHOSTUNREACH', { address: '2001:db8::1', port: 6443 }),
    'UNREACHABLE',
    'no route to [2001:db8::1]:6443',
  ],
  [
    'several addresses, tried one after the other',
    new AggregateError([
      error('ECONNREFUSED', { address: '::1', port: 6443 }),
      error('ECONNREFUSED', { address: '127.0.0.1', port: 6443 }),
    ]),
    'UNREACHABLE',
    'connection refused by [::1]:6443; connection refused by 127.0.0.1:6443',
  ],
  ['a reset connection', error('ECONNRESET'), 'UNREACHABLE', 'the connection to the API server was lost'],
  ['a closed connection', error('UND_ERR_SOCKET'), 'UNREACHABLE', 'the connection to the API server was lost'],
  [
    'a server without TLS',
    error('ERR_SSL_WRONG_VERSION_NUMBER'),
    'UNREACHABLE',
    'the server does not answer with TLS (https://)',
  ],
  [
    'a client certificate that the server rejects',
    error('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'),
    'UNREACHABLE',
    'the API server rejected the TLS connection (client certificate?)',
  ],
  ['a port without HTTP', error('HPE_INVALID_CONSTANT'), 'UNREACHABLE', 'the server does not answer with HTTP'],
  [
    'a refusal of this host',
    Object.assign(error('EPERM'), { errno: -1, address: '192.0.2.2', port: 6443 }),
    'UNREACHABLE',
    'cannot reach the API server: operation not permitted (192.0.2.2:6443)',
  ],
  ['an unknown error', error('ESOMETHING'), 'UNREACHABLE', 'cannot reach the API server (ESOMETHING)'],
  ['an error without a code', new Error('words'), 'UNREACHABLE', 'cannot reach the API server'],
  ['no error at all', 'words', 'UNREACHABLE', 'cannot reach the API server'],
  ['a deadline', new DOMException('late', 'TimeoutError'), 'TIMEOUT', 'the API server did not answer in time'],
  ['headers that do not arrive', error('UND_ERR_HEADERS_TIMEOUT'), 'TIMEOUT', 'the API server did not answer in time'],
  [
    'a connection that is not established',
    error('UND_ERR_CONNECT_TIMEOUT'),
    'TIMEOUT',
    'cannot connect to the API server within 10 s',
  ],
  [
    'packets without an answer',
    error('ETIMEDOUT', { address: '192.0.2.2', port: 6443 }),
    'TIMEOUT',
    'no answer from 192.0.2.2:6443',
  ],
  [
    'a certificate of another authority',
    error('SELF_SIGNED_CERT_IN_CHAIN'),
    'UNTRUSTED',
    "the API server's certificate is not trusted (it is signed by an unknown authority)",
  ],
  [
    'a certificate of another name',
    error('ERR_TLS_CERT_ALTNAME_INVALID', { host: 'api.example' }),
    'UNTRUSTED',
    "the API server's certificate is not trusted (it is not valid for api.example)",
  ],
  [
    'a certificate that has expired',
    error('CERT_HAS_EXPIRED'),
    'UNTRUSTED',
    "the API server's certificate is not trusted (it has expired)",
  ],
])('%s', (_, thrown, code, message) => {
  expect(noAnswer(thrown)).toMatchObject({ code, message });
});

test.each([
  ['ENOTFOUND', /DNS servers/],
  ['ECONNREFUSED', /that the API server runs/],
  ['EHOSTUNREACH', /routes of this host/],
  ['ECONNRESET', /proxy or firewall/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', /another program listens/],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', /client-certificate/],
  ['ESOMETHING', /check the server in the kubeconfig/],
  ['UND_ERR_CONNECT_TIMEOUT', /drop packets/],
  ['UND_ERR_HEADERS_TIMEOUT', /load of the API server/],
  ['SELF_SIGNED_CERT_IN_CHAIN', /certificate-authority-data/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /tls-server-name/],
  ['CERT_HAS_EXPIRED', /renew the certificate/],
  ['CERT_NOT_YET_VALID', /clock of this host/],
  ['CERT_REVOKED', /certificate-authority/],
])('%s has an advice of its own, else that of its kind', (code, advice) => {
  expect(failure(error(code), { verb: 'get', path: '/x' }).advice).toMatch(advice);
});
