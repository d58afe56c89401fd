import { Command, CommanderError, Option } from 'commander';
import { defaultLoadBalancerClass } from '../core/model/contract.ts';
import { type RawOptions, type RunOptions, decodeOptions } from './options.ts';

/** What a command line asks for, decoded. */
export type Invocation =
  | {
      readonly command: 'run' | 'check';
      readonly options: RunOptions;
      readonly log: LogOptions;
      readonly isJson: boolean;
    }
  | { readonly command: 'cleanup'; readonly options: RunOptions; readonly log: LogOptions; readonly isCluster: boolean }
  | { readonly command: 'status'; readonly stateDir: string; readonly isJson: boolean }
  | { readonly command: 'drain' | 'undrain'; readonly stateDir: string; readonly node: string }
  | { readonly command: 'none'; readonly exitCode: number };

export type LogOptions = { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'json' | 'text' };

const siteFlags: readonly Option[] = [
  new Option('--kubeconfig <file>', 'kubeconfig; else in-cluster, else ~/.kube/config').env('FURIWAKE_KUBECONFIG'),
  new Option('--context <name>', 'context of the kubeconfig; else its current one').env('FURIWAKE_CONTEXT'),
  new Option(
    '--addresses <list>',
    "addresses to hand out: single ones, CIDRs, first-last ranges, both families; else this host's own, one per family",
  ).env('FURIWAKE_ADDRESSES'),
  new Option('--load-balancer-class <name>', 'serve Services with this spec.loadBalancerClass')
    .env('FURIWAKE_LOAD_BALANCER_CLASS')
    .default(defaultLoadBalancerClass),
  new Option('--default-class <yes|no>', 'serve Services without a class, too')
    .env('FURIWAKE_DEFAULT_CLASS')
    .default('yes'),
  new Option('--namespaces <list>', 'only Services of these namespaces; else all').env('FURIWAKE_NAMESPACES'),
  new Option('--lease-namespace <name>', 'namespace of the Lease')
    .env('FURIWAKE_LEASE_NAMESPACE')
    .default('furiwake-system'),
  new Option('--reserved-ports <list>', "ports of this host's own addresses that no Service gets")
    .env('FURIWAKE_RESERVED_PORTS')
    .default('22'),
  new Option('--state-dir <folder>', 'what must outlive a restart: addresses given, HAProxy configuration, sockets')
    .env('FURIWAKE_STATE_DIR')
    .default('/var/lib/furiwake'),
  new Option('--idle-timeout <seconds>', 'how long an idle connection lives')
    .env('FURIWAKE_IDLE_TIMEOUT')
    .default('3600'),
  new Option(
    '--node-silence-timeout <seconds>',
    'how long a node may be silent before its connections are reset; new ones avoid it after 3 s',
  )
    .env('FURIWAKE_NODE_SILENCE_TIMEOUT')
    .default('15'),
  new Option(
    '--on-lease-loss <what>',
    'withdraw: stop answering for the addresses when another host takes over; keep: the administrator arranges it otherwise',
  )
    .env('FURIWAKE_ON_LEASE_LOSS')
    .choices(['withdraw', 'keep'])
    .default('withdraw'),
  new Option('--metrics-address <host:port>', 'where /metrics, /healthz and /readyz answer; none: nowhere')
    .env('FURIWAKE_METRICS_ADDRESS')
    .default('127.0.0.1:9470'),
];
const stopTrafficFlag = new Option(
  '--stop-traffic-on-exit [yes|no]',
  'end HAProxy and take everything off the host when furiwake ends',
)
  .env('FURIWAKE_STOP_TRAFFIC_ON_EXIT')
  .preset('yes')
  .default('no');
const logFlags: readonly Option[] = [
  new Option('--log-level <level>', 'least level that is logged')
    .env('FURIWAKE_LOG_LEVEL')
    .choices(['debug', 'info', 'warn', 'error'])
    .default('info'),
  new Option('--log-format <format>', 'text for people, json for machines; else text on a terminal')
    .env('FURIWAKE_LOG_FORMAT')
    .choices(['json', 'text']),
];
const outputFlag = new Option('-o, --output <format>', 'text or json').choices(['text', 'json']).default('text');
const stateDirFlag = new Option('--state-dir <folder>', 'state directory of the furiwake that is asked')
  .env('FURIWAKE_STATE_DIR')
  .default('/var/lib/furiwake');

export type ProgramDeps = {
  readonly version: string;
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  /** Width for the help texts. */
  readonly columns: number;
};

/**
 * Reads a command line; every flag is also an environment variable (`FURIWAKE_…`, shown in the help). Help, version and
 * commander's own complaints are written and come back as `none` with the exit code (2 for wrong usage).
 * Throws `UsageError` for a value that cannot be read.
 */
export function readCommandLine(args: readonly string[], deps: ProgramDeps): Invocation {
  let invocation: Invocation | undefined;
  const program = new Command('furiwake')
    .description(
      "A working Service type: LoadBalancer for a cluster on one's own machines: watches the API server, gives each Service an address, programs HAProxy, writes the status.",
    )
    .version(deps.version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText('after', '\nDocumentation: docs/ of the source; reasons shown on Services: docs/reasons.md');
  const log = (raw: { logLevel: string; logFormat?: string }): LogOptions => ({
    level: raw.logLevel as LogOptions['level'],
    format: (raw.logFormat as LogOptions['format'] | undefined) ?? (deps.isTerminal ? 'text' : 'json'),
  });
  type Raw = RawOptions & { logLevel: string; logFormat?: string; output?: string; cluster?: boolean };
  const command = (name: string, description: string, flags: readonly Option[]): Command => {
    const made = program.command(name).description(description);
    for (const flag of flags) made.addOption(flag);
    return made;
  };

  command(
    'run',
    "Serve the cluster's Services from this host, until it is ended. Traffic goes on when furiwake ends.",
    [...siteFlags, stopTrafficFlag, ...logFlags],
  ).action((raw: Raw) => {
    invocation = { command: 'run', options: decodeOptions(raw), log: log(raw), isJson: false };
  });
  command('check', 'Tell, without changing anything, whether this host can do the job.', [
    ...siteFlags,
    outputFlag,
    ...logFlags,
  ]).action((raw: Raw) => {
    invocation = {
      command: 'check',
      options: decodeOptions({ ...raw, stopTrafficOnExit: 'no' }),
      log: log(raw),
      isJson: raw.output === 'json',
    };
  });
  command('cleanup', 'Take away from this host all that `run` put there.', [
    ...siteFlags,
    new Option('--cluster', 'also take our finalizers, addresses and conditions off the Services').default(false),
    ...logFlags,
  ]).action((raw: Raw) => {
    invocation = {
      command: 'cleanup',
      options: decodeOptions({ ...raw, stopTrafficOnExit: 'no' }),
      log: log(raw),
      isCluster: raw.cluster === true,
    };
  });
  command('status', 'Show what the furiwake on this host serves.', [stateDirFlag, outputFlag]).action(
    (raw: { stateDir: string; output: string }) => {
      invocation = { command: 'status', stateDir: raw.stateDir, isJson: raw.output === 'json' };
    },
  );
  for (const [name, description] of [
    ['drain', 'Give a node no new connections; those it has live on.'],
    ['undrain', 'Give a drained node connections again.'],
  ] as const) {
    command(name, description, [stateDirFlag])
      .argument('<node>', 'name of the node')
      .action((node: string, raw: { stateDir: string }) => {
        invocation = { command: name, stateDir: raw.stateDir, node };
      });
  }

  for (const each of [program, ...program.commands]) {
    each
      .exitOverride()
      .configureOutput({
        writeOut: deps.write,
        writeErr: deps.writeError,
        getOutHelpWidth: () => deps.columns,
        getErrHelpWidth: () => deps.columns,
      })
      .showHelpAfterError(`(${each.name() === 'furiwake' ? 'furiwake' : `furiwake ${each.name()}`} --help tells all)`);
  }
  try {
    program.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { command: 'none', exitCode: error.exitCode === 0 ? 0 : 2 };
  }
  return invocation ?? { command: 'none', exitCode: 2 };
}
