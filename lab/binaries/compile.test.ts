import { expect, test } from 'vitest';
import { complaints, downloaded, packagesIn } from './compile.ts';

const said = `go: downloading go.uber.org/zap v1.27.1
go: downloading golang.org/x/net v0.49.0
internal/goarch
go.etcd.io/etcd/api/v3/mvccpb
# go.etcd.io/etcd/server/v3
server/main.go:7:2: undefined: nothing
`;

test('packages that Go compiles are counted, other lines are not', () => {
  expect(packagesIn(said)).toBe(2);
});

test('the module that is being downloaded is shown', () => {
  expect(downloaded(said)).toBe('golang.org/x/net');
  expect(downloaded('internal/goarch\n')).toBeUndefined();
});

test('only the errors of a failed build are shown', () => {
  expect(complaints(said)).toBe(
    'go: downloading go.uber.org/zap v1.27.1\n' +
      'go: downloading golang.org/x/net v0.49.0\n' +
      '# go.etcd.io/etcd/server/v3\n' +
      'server/main.go:7:2: undefined: nothing',
  );
});
