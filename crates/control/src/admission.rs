//! Who may come in, as this server decides it: the one [`gate::Admission`] of the binary.
//!
//! Its parts are asked in the order of the struct, and the first no counts.

use std::sync::Arc;

use gate::{Answer, Event, Intent, Visit};

use crate::access::{Access, Direction};
use crate::exec::Programs;
use crate::forward::Forwards;
use crate::hooks::Hooks;
use crate::telemetry::Telemetry;

/// What decides, in order.
#[derive(Clone)]
pub struct Admission {
    /// The rules of the configuration.
    pub access: Access,
    /// Web servers that are asked and told.
    pub hooks: Hooks,
    /// Programs that run beside streams; they decide nothing.
    pub programs: Programs,
    /// What goes to other servers.
    pub forwards: Forwards,
    /// What OpenTelemetry is told.
    pub telemetry: Telemetry,
}

impl gate::Admission for Admission {
    fn admit(&self, intent: &Intent) -> Answer {
        let (access, intent) = (self.access.clone(), intent.clone());
        let direction = match intent.detail.publish {
            true => Direction::Publish,
            false => Direction::Play,
        };
        Some(Box::pin(async move { access.check(&intent, direction).await }))
    }

    fn connect(&self, visit: &Arc<Visit>) -> Answer {
        self.hooks.connect(visit)
    }

    fn publish(&self, visit: &Arc<Visit>) -> Answer {
        self.hooks.publish(visit)
    }

    fn play(&self, visit: &Arc<Visit>) -> Answer {
        self.hooks.play(visit)
    }

    fn tell(&self, event: Event<'_>) {
        self.hooks.tell(event);
        self.programs.tell(event);
        self.forwards.tell(event);
        self.telemetry.tell(event);
    }
}
