import fc from 'fast-check';
import type { Annotation } from '../../src/core/model/service.ts';
import { serviceKey } from '../../src/core/model/names.ts';
import { optionNames } from '../../src/core/traffic/decode-options.ts';
import { type ListenerOptions, noLimits, plainProfile, plainServer } from '../../src/core/traffic/options.ts';
import type { Listener } from '../../src/core/traffic/table.ts';
import { listener } from './table.ts';

/** Texts that users write, and some that would change the configuration of HAProxy if they reached it as they are. */
const someText = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('1', '10', '1000', '500ms', '1s', '30s', '2h') },
  {
    weight: 4,
    arbitrary: fc.constantFrom('v1', 'v2', '80=v1', 'all', '80', 'leastconn', 'source', 'tcp', 'http:/ready'),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom('1', '30s', 'v2', 'leastconn', 'http:/ready', 'tcp', ''),
        fc.constantFrom(
          '\n    server x 192.0.2.1',
          ';disable server nodes4/n1',
          ' # ',
          ' send-proxy',
          '%[env(A)]',
          '${HOME}',
          '"',
          '\\',
          "'",
          '\u0000',
          '<<',
          '|',
        ),
      )
      .map((parts) => parts.join('')),
  },
  { weight: 1, arbitrary: fc.string() },
);

/** The annotations of a Service about what only HAProxy does, some of them unknown. */
export const anyOptions: fc.Arbitrary<readonly Annotation[]> = fc
  .dictionary(fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...optionNames) }, fc.string()), someText, {
    maxKeys: 6,
  })
  .map((texts) => Object.entries(texts).map(([name, text]): Annotation => [`furiwake.dev/${name}`, text]));

/** The rest is as without annotations. */
export type SomeOptions = {
  readonly limits?: Partial<ListenerOptions['limits']>;
  readonly server?: Partial<ListenerOptions['server']>;
  readonly profile?: Partial<ListenerOptions['profile']>;
  readonly isMeasured?: boolean;
};

/** A TCP listener with options, of a Service of its own. */
export function withOptions(
  vip: string,
  port: number,
  targetPort: number,
  { limits, server, profile, isMeasured = false }: SomeOptions,
): Listener {
  const options = {
    limits: { ...noLimits, ...limits },
    server: { ...plainServer, ...server },
    profile: { ...plainProfile, ...profile },
    isMeasured,
  };
  return listener(vip, port, targetPort, { options, service: serviceKey('test', `to-${vip}`) });
}
