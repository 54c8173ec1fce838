//! Transformations of all rules as one tree.
//!
//! ```text
//!  root -- urlDecodeUni -- lowercase
//!      \                \- jsDecode -- lowercase
//!       \- lowercase
//! ```
//! Owns: the tree. Rules with the same beginning share its nodes, and a transaction keeps what it found at each node: a
//! value is changed once however many rules want it so.

use crate::byte_set::ByteSet;
use crate::transform::Transformation;

/// A node of the tree: what a value is after the transformations on the way to it.
pub(crate) type Node = u16;

/// The value as it came.
pub(crate) const ROOT: Node = 0;

/// The last step to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) parent: Node,
    pub(crate) transformation: Transformation,
    /// Bytes without any of which the step changes nothing.
    pub(crate) touches: ByteSet,
}

impl Step {
    const fn new(parent: Node, transformation: Transformation) -> Self {
        Self { parent, transformation, touches: transformation.touches() }
    }
}

/// The tree: by node its last step.
#[derive(Debug)]
pub(crate) struct Pipelines {
    nodes: Vec<Step>,
}

impl Default for Pipelines {
    fn default() -> Self {
        // The root has no step; what stands in its place is never read.
        Self { nodes: vec![Step::new(ROOT, Transformation::Lowercase)] }
    }
}

impl Pipelines {
    /// The node behind these steps, new ones if need be; `None` when all numbers are taken.
    pub(crate) fn intern(&mut self, steps: &[Transformation]) -> Option<Node> {
        steps.iter().try_fold(ROOT, |parent, step| {
            let known = self
                .nodes
                .iter()
                .skip(1)
                .position(|node| (node.parent, node.transformation) == (parent, *step));
            match known {
                Some(index) => Node::try_from(index + 1).ok(),
                None => {
                    let node = Node::try_from(self.nodes.len()).ok()?;
                    self.nodes.push(Step::new(parent, *step));
                    Some(node)
                }
            }
        })
    }

    /// The last step of a node that is not the root.
    #[inline]
    pub(crate) fn step(&self, node: Node) -> &Step {
        &self.nodes[usize::from(node)]
    }

    /// How many nodes there are, the root included.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}
