import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type Right, rights, showRight } from './rights.ts';

type Manifest = {
  readonly kind: string;
  readonly rules?: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
};

test('deploy/ grants exactly the permissions that furiwake uses', () => {
  const manifests = parseAllDocuments(readFileSync('deploy/furiwake.yaml', 'utf8')).map(
    (document) => document.toJS() as Manifest,
  );
  const granted = manifests.flatMap(({ kind, rules = [] }) =>
    rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((name) =>
          verbs.map((verb) => {
            const [resource = '', subresource] = name.split('/');
            const right: Right = {
              group,
              resource,
              verb,
              ...(subresource === undefined ? {} : { subresource }),
              ...(kind === 'Role' ? { isLocal: true } : {}),
            };
            return showRight(right, 'furiwake-system');
          }),
        ),
      ),
    ),
  );
  expect(granted.sort()).toEqual(rights.map((right) => showRight(right, 'furiwake-system')).sort());
});
