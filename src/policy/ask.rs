//! The server's side of an evaluation: a child for each question, bounded, and its end judged.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::Semaphore,
};

use super::{
    Answer, Ask, Trouble,
    child::{Asked, Fence},
};
use crate::domain::{PolicyKind, limits};

/// Evaluates policies in children of its own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Evaluator {
    program: PathBuf,
    /// Whom children become, where the server is root.
    uid: Option<u32>,
    turns: Arc<Semaphore>,
}

/// How long a policy of a kind may take.
pub const fn wall(kind: PolicyKind) -> Duration {
    match kind {
        PolicyKind::Plan => limits::PLAN_POLICY_WALL,
        PolicyKind::Push | PolicyKind::Notification => limits::PATIENT_POLICY_WALL,
        PolicyKind::Task | PolicyKind::Approval | PolicyKind::Trigger | PolicyKind::Access => limits::POLICY_WALL,
    }
}

impl Evaluator {
    /// `program` is this binary.
    pub fn new(program: PathBuf, uid: Option<u32>) -> Self {
        Self { program, uid, turns: Arc::new(Semaphore::new(limits::POLICIES_AT_ONCE)) }
    }

    /// The same beside this one: neither waits for the other's evaluations.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), ..self.clone() }
    }

    /// Asks one question. Every way of not answering is a [`Trouble`].
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Trouble> {
        let wall = match &ask {
            Ask::Decide(question) => wall(question.kind),
            Ask::Check { .. } | Ask::Test { .. } => limits::POLICY_WALL,
        };
        let _turn = self.turns.acquire().await.map_err(|_| Trouble::new("the server is ending"))?;
        // What fits into the wall time fits on the processor; the second more is for rounding.
        let asked = Asked { fence: Fence { seconds: wall.as_secs() + 1, uid: self.uid }, ask };
        let question = serde_json::to_vec(&asked).map_err(|error| Trouble::new(error.to_string()))?;
        if question.len() > limits::POLICY_INPUT_BYTES {
            return Err(Trouble::new(format!("its input is larger than {} MiB", limits::POLICY_INPUT_BYTES >> 20)));
        }
        let mut child = self.start().map_err(|error| Trouble::new(format!("it cannot be evaluated: {error}")))?;
        match tokio::time::timeout(wall, exchange(&mut child, &question)).await {
            Ok(Ok((answer, status))) => judged(&answer, status, wall),
            Ok(Err(error)) => Err(Trouble::new(format!("its evaluation cannot be followed: {error}"))),
            Err(_) => {
                child.kill().await.ok();
                Err(too_long(wall))
            }
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg0("airlock").arg("evaluate").env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    }
}

/// Hands the question over and takes the answer, at the same time: neither pipe may fill up unread.
async fn exchange(child: &mut Child, question: &[u8]) -> std::io::Result<(Vec<u8>, ExitStatus)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let ask = async {
        if let Some(mut stdin) = stdin {
            // A child that ended early says why by its end.
            stdin.write_all(question).await.ok();
        }
    };
    let hear = async {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(limits::POLICY_ANSWER_BYTES as u64 + 1).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>(answer)
    };
    let ((), answer) = tokio::join!(ask, hear);
    let answer = answer?;
    Ok((answer, child.wait().await?))
}

fn judged(answer: &[u8], status: ExitStatus, wall: Duration) -> Result<Answer, Trouble> {
    use std::os::unix::process::ExitStatusExt as _;
    if answer.len() > limits::POLICY_ANSWER_BYTES {
        return Err(Trouble::new(format!("it says more than {} KiB", limits::POLICY_ANSWER_BYTES >> 10)));
    }
    if status.success() {
        return match serde_json::from_slice(answer) {
            Ok(Answer::Trouble(trouble)) => Err(trouble),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Trouble::new(format!("its answer cannot be read: {error}"))),
        };
    }
    Err(match status.signal() {
        Some(libc::SIGXCPU | libc::SIGKILL) => too_long(wall),
        Some(libc::SIGABRT) => Trouble::new(format!(
            "it takes more than {} MiB of memory and was ended",
            limits::POLICY_MEMORY_BYTES >> 20
        )),
        Some(libc::SIGSEGV) => Trouble::new("it goes too deep and was ended"),
        Some(signal) => Trouble::new(format!("its evaluation ended with signal {signal}")),
        None => Trouble::new("its evaluation broke off"),
    })
}

fn too_long(wall: Duration) -> Trouble {
    Trouble::new(format!("it takes longer than {} s and was ended", wall.as_secs()))
}
