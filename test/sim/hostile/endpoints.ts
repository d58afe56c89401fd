import fc from 'fast-check';
import type { Fields } from '../kinds.ts';
import { mostly, wrongValue } from './texts.ts';

/** Of addresses of Pods, and of addresses that no Pod can have. */
const anyEndpointAddress = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('10.244.1.7', '10.244.2.9', 'fd00:244::7') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '127.0.0.1',
      '127.8.8.8',
      '169.254.169.254',
      '224.0.0.1',
      '255.255.255.255',
      '0.0.0.0',
      '192.0.2.1', // the API server's
      '192.0.2.2', // the host's own
      '192.0.2.8', // of the pool
      '::1',
      '::',
      'fe80::1',
      'ff02::1',
      '::ffff:127.0.0.1',
      '2001:db8::8',
    ),
  },
  { weight: 1, arbitrary: wrongValue },
);

/** The fields of an EndpointSlice. */
export const anySlice: fc.Arbitrary<Fields> = fc.record({
  addressType: mostly('IPv4', 'IPv4', 'IPv6', 'FQDN'),
  ports: fc.oneof(
    {
      weight: 5,
      arbitrary: fc.array(
        fc.record({ name: mostly('http', 'http', 'dns'), protocol: mostly('TCP', 'UDP'), port: mostly(8080) }),
        {
          maxLength: 2,
        },
      ),
    },
    { weight: 1, arbitrary: wrongValue },
  ),
  endpoints: fc.oneof(
    {
      weight: 9,
      arbitrary: fc.array(
        fc.record(
          {
            addresses: fc.array(anyEndpointAddress, { maxLength: 2 }),
            nodeName: mostly('n1', 'n2', 'nowhere'),
            conditions: mostly({}, { ready: true }, { ready: false }, { ready: false, serving: true }),
          },
          { requiredKeys: ['addresses'] },
        ),
        { maxLength: 4 },
      ),
    },
    { weight: 1, arbitrary: wrongValue },
  ),
});
